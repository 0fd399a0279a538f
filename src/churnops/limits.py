"""Limits on inputs and artefacts, checked before anything is built, the same in every format and interface.

Each is far above the needs of real tables and models, and far below a harmful size. Limits keep the time and the
memory for an input proportional to its size.
"""

MAX_ERRORS = 20
"""Number of errors reported for one request, or for the tables of one command."""

MAX_HINTS = 1000
"""Number of valid names compared with a misspelt name; the misspelt names of one customer share this number."""

MAX_COLUMNS = 10_000
"""Number of columns of a table or a Schema; in a Parquet file, parts of lists and structs count."""

MAX_CHOICES = 10_000
"""Number of choices of a category."""

MAX_CONFIG_BYTES = 2**21
"""Size of `config.yaml`: 10,000 columns with alias and description take about 1.5 MB."""

MAX_MERGED = 100_000
"""Number of keys of a YAML mapping, including keys merged by `<<`: eight nested merges could give a billion."""

MAX_NESTED = 64
"""Depth of nested lists and mappings in brackets in YAML."""

MAX_ROW_BYTES = 2**20
"""Size of one row's text in any format, and of a CSV's header with the blank lines above it."""

MAX_BATCH_BYTES = 2**26
"""Size of one batch of a table, for any number of rows."""

MAX_BATCH_CELLS = 2**20
"""Number of cells in one batch of a table. Empty cells count, because they take as much memory as short texts."""

MAX_EXCEL_BYTES = 2**28
"""Size of an Excel workbook."""

MAX_EXCEL_UNPACKED = 2**30
"""Sum of the unpacked sizes of a workbook's parts."""

MAX_EXCEL_CELLS = 20_000_000
"""Number of cells of a sheet, empty ones included: a loaded cell takes 31 bytes, so all take 0.6 GiB."""

FOOTER_BYTES = 2**22
FOOTER_SHARE = 32
MAX_FOOTER_BYTES = 2**26
"""Size of a Parquet file's footer: 4 MiB, or 1/32 of the file if that is more, up to 64 MiB.

A parsed footer takes up to thirty times its size in memory. Measured: 27 columns take 3.3 KB a row group, so the footer
of 100 million rows in groups of 50,000 has 6.4 MiB, less than 1 % of the file. 10,000 columns take 1.8 MiB a row group.
"""

PAGES_BYTES = 2**28
PAGES_SHARE = 4
"""Sum of the unpacked sizes of the largest page of each column, in one row group of a Parquet file: 256 MiB, or four
times the file if that is more.

Writers cut pages at 1 MiB, so 250 columns of any length are within the limit, and more columns make a larger file.
All values of an uploaded file together are limited to 256 MiB; in the API, to four times `api.max_upload_bytes` if
that is more.
Without this limit, 8 KB could unpack to 50 GB of a repeated text.
"""

MAX_PREFIXED_BYTES = 2**22
"""Unpacked size of a Parquet page with shared prefixes: each text may repeat the text before it."""
