"""A rule that a table breaks. Needs no table library."""

from dataclasses import dataclass

SHOWN = 5  # rows listed in a failure
MAX_EXAMPLE_LENGTH = 40  # characters


@dataclass(frozen=True)
class Failure:
    """A rule that a file breaks.

    Attributes
    ----------
    count
        Number of rows that break the rule.
    rows
        Numbers of the first such rows; 1 is the first row after the header.
    examples
        Values in these rows; empty for an id.
    """

    file: str
    column: str | None
    rule: str
    message: str
    count: int = 1
    rows: tuple[int, ...] = ()
    examples: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.file}: {self.without_file}"

    @property
    def without_file(self) -> str:
        """Sentence that does not name the file."""
        where = f"column {self.column}: " if self.column else ""
        rows = ", ".join(map(str, self.rows)) + (", …" if self.count > len(self.rows) else "")
        at = f" (row{'s' if self.count > 1 else ''} {rows})" if self.rows else ""
        given = f", such as {', '.join(dict.fromkeys(map(repr, self.examples)))}" if self.examples else ""
        return f"{where}{self.message}{given}{at}"
