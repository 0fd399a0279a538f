"""Failures after a deployment are warnings: the new model is deployed even if a later step fails."""

from collections.abc import Iterator
from contextlib import contextmanager

from churnops.errors import ChurnopsError, first_line, reason_of


class Aftermath:
    """Turns failures into warnings after a deployment.

    Attributes
    ----------
    deployed
        Whether the link was swapped. If not, `warning` raises every error again.

    Examples
    --------
    >>> aftermath = Aftermath()
    >>> aftermath.deployed = True
    >>> with aftermath.warning("the summary is not written"):
    ...     raise OSError("No space left on device")
    >>> aftermath.text
    'the summary is not written: No space left on device'
    """

    def __init__(self) -> None:
        self.deployed = False
        self._warnings: list[str] = []

    @contextmanager
    def warning(self, consequence: str) -> Iterator[None]:
        """Run a block; after a deployment, turn an error of the block into a warning with consequence and reason."""
        try:
            yield
        except Exception as error:
            if not self.deployed:
                raise
            self.add(f"{consequence}: {_reason(error)}")

    def add(self, text: str | None) -> None:
        """Add a warning; ignore None."""
        if text:
            self._warnings.append(text)

    @property
    def text(self) -> str | None:
        """All warnings on one line; None if there are none."""
        return "; ".join(self._warnings) or None


def _reason(error: Exception) -> str:
    """Return a one-line reason; for an error of another library, its type and message."""
    if isinstance(error, ChurnopsError | OSError):
        return reason_of(error)
    message = first_line(error)
    return f"{type(error).__name__}: {message}" if message else reason_of(error)
