"""Scoring: tables of customers (`table`), and files of any size in resumable runs (`file`)."""
