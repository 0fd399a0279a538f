"""Files of customers in `POST /predict/batch`; the answer is the file with columns added.

`answer.py` receives a file and streams the answer, `formats.py` has the interface of a format, and `ndjson.py` and
`tables.py` read and write the formats.
"""
