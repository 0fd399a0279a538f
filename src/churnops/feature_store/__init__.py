"""Feast: a repository of the project's columns for it.

Feast itself is never imported, because it needs other versions of libraries. `repository` has the texts of the files,
`export` writes them with the rows.
"""
