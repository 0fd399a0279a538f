"""Limits on inputs and artefacts: checked before anything is built, the same through every format and door.

Each is far above the needs of real tables and models and far below a size that hurts. Limits keep the time and the
memory of an input proportional to its size; they are not there to save space.
"""

MAX_ERRORS = 20
"""Errors that are made for one request, or for the tables of one command; later ones are not looked for."""

MAX_HINTS = 1000
"""Names that misspelt ones are compared with, for one customer or table; the first misspelt one in any case."""

MAX_COLUMNS = 10_000
"""Columns of a table or a Schema; in a Parquet file with lists or structs, their parts count."""

MAX_CHOICES = 10_000
"""Choices of a category."""

MAX_CONFIG_BYTES = 2**21
"""Bytes of `config.yaml`: 10,000 columns with alias and description have about 1.5 MB."""

MAX_MERGED = 100_000
"""Keys of a YAML mapping with those that `<<` merges into it: eight nested ones could mean a billion."""

MAX_NESTED = 64
"""Lists and mappings in brackets within one another in YAML."""

MAX_ROW_BYTES = 2**20
"""Text of one row, in any format; of the header and the blank lines above it in a CSV."""

MAX_BATCH_BYTES = 2**26
"""Bytes of a table that are handed on at a time, however many rows were asked for."""

MAX_BATCH_CELLS = 2**20
"""Cells of a table that are handed on at a time: an empty one takes as much memory as a short text."""

FOOTER_BYTES = 2**22
FOOTER_SHARE = 32
MAX_FOOTER_BYTES = 2**26
"""Footer of a Parquet file: 4 MiB, or 1/32 of a larger file, up to 64 MiB.

Parsed, it takes up to thirty times as much memory. Measured: 27 columns take 3.3 KB a row group, so a file of 100
million rows in groups of 50,000 has 6.4 MiB, less than a hundredth of it; 10,000 columns take 1.8 MiB a row group.
"""

PAGES_BYTES = 2**28
PAGES_SHARE = 4
"""Unpacked pages of a Parquet file, one of every column together: 256 MiB, or four times a larger file.

Writers cut pages at 1 MiB, so 250 columns of any length are below, and files with more columns have more bytes.
All values of a file that is sent to the API have as many bytes, or four times `api.max_upload_bytes`; in the dashboard
they have 256 MiB. Otherwise 8 KB could repeat a text to 50 GB.
"""

MAX_PREFIXED_BYTES = 2**22
"""Unpacked bytes of a Parquet page in which texts repeat the beginning of the one before: each may be as long as it."""
