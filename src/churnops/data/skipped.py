"""Parts of the given data that churnops does not use: files in folders of tables, and columns."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from churnops.data.read import ENDINGS, is_hidden
from churnops.files import as_text
from churnops.schema import Schema

SHOWN = 5
"""Number of names in a sentence."""

HIDDEN = "hidden"
SUBFOLDER = "in a subfolder"
ENDING = "without the ending .csv, .parquet or .xlsx"
UNDECLARED = "not in the schema"
EMPTY = "empty"
CONSTANT = "the same value in every row"


@dataclass(frozen=True)
class Skipped:
    """Files and columns that were not used, each with the reason.

    Attributes
    ----------
    files
        Entries of the folders of tables that were not read, by `folder/name`.
    columns
        Headers outside the Schema, which are not read, and columns without information, by their names.
    rows
        Sentences by file: on broken rows, which were left out, and on unknown levels and repeated rows, which were not.
    """

    files: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    rows: Mapping[str, str] = field(default_factory=dict)

    def sentences(self) -> Iterator[str]:
        """Yield a sentence for each kind of thing and each reason.

        >>> list(Skipped({"raw/notes.txt": ENDING}, {"plan": EMPTY}).sentences())
        ['Files not used (without the ending .csv, .parquet or .xlsx): raw/notes.txt', 'Columns not used (empty): plan']
        """
        for kind, names in (("Files", self.files), ("Columns", self.columns)):
            for reason in dict.fromkeys(names.values()):
                listed = [name for name in names if names[name] == reason]
                more = f" and {len(listed) - SHOWN:,} more" if len(listed) > SHOWN else ""
                yield f"{kind} not used ({reason}): {', '.join(listed[:SHOWN])}{more}"
        for name, sentence in self.rows.items():
            yield f"{name}: {sentence}"


def skipped_files(sources: Sequence[Path]) -> dict[str, str]:
    """Return the entries of folders that `table_paths` leaves out, by `folder/name`, each with the reason."""
    return {
        as_text(Path(folder.name, entry.name)): reason
        for folder in sources
        if folder.is_dir()
        for entry in sorted(folder.iterdir())
        if (reason := _reason(entry))
    }


def _reason(entry: Path) -> str:
    if is_hidden(entry):
        return HIDDEN
    if entry.is_dir():
        return SUBFOLDER
    return "" if entry.suffix.lower() in ENDINGS and entry.is_file() else ENDING


def uninformative_columns(table: pl.DataFrame, schema: Schema) -> dict[str, str]:
    """Return the columns of a validated table that are empty or constant, by header, each with the reason.

    Examples
    --------
    >>> from churnops.schema import Column
    >>> schema = Schema(columns=(
    ...     Column(name="calls", kind="integer"), Column(name="plan", kind="flag", choices=("No", "Yes")),
    ...     Column(name="churn", kind="target", choices=("False", "True"))))
    >>> uninformative_columns(pl.DataFrame({"calls": [1, 1], "plan": [None, None], "churn": ["True", "False"]}), schema)
    {'calls': 'the same value in every row', 'plan': 'empty'}
    """
    columns = {}
    for column in schema.inputs:
        if column.name in table.columns:
            values = table.get_column(column.name)
            if values.null_count() == table.height:
                columns[column.alias or column.name] = EMPTY
            elif values.null_count() == 0 and (values == values[0]).all():
                columns[column.alias or column.name] = CONSTANT
    return columns
