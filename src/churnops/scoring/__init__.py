"""Scoring: a table of customers and their answers (`table`), and files of any size, which are resumed (`file`)."""
