"""Files of customers as bodies of `POST /predict/batch`, which come back with the answers added.

`answer.py` takes a file in and streams its answer; `formats.py` has the form of an upload, `ndjson.py` and `tables.py`
read and write the formats.
"""
