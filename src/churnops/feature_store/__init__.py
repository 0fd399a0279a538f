"""Feast: a repository of the project's columns for it, and rows of customers from its server.

Feast itself is never imported, because it needs other versions of libraries. `repository` has the texts of the files,
`export` writes them with the rows, and `online` asks the server.
"""
