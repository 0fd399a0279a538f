"""A rule that a table breaks. Needs no table library."""

from collections.abc import Iterable
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
        return f"{where}{self.message}{such_as(self.examples)}{at}"


def such_as(examples: Iterable[str]) -> str:
    """Return the part of a sentence that names examples; empty without any.

    >>> such_as(["a", "b", "a"]), such_as([])
    (", such as 'a', 'b'", '')
    """
    names = ", ".join(dict.fromkeys(map(repr, examples)))
    return f", such as {names}" if names else ""
