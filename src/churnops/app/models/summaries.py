"""Retraining summaries as the dashboard shows them: the newest files, read within bounds, damaged ones named."""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from churnops.app.shared.documents import read_document
from churnops.errors import ChurnopsError
from churnops.retraining.document import SummaryDocument

FILE_NAME = re.compile(r"retraining_summary_\d{8}T\d{6}\.\d{6}Z\.json")
MOST = 20


@dataclass(frozen=True)
class Damaged:
    """A summary file that cannot be shown, and why."""

    file: str
    why: str


def newest_files(folder: Path, most: int = MOST) -> tuple[tuple[str, int, int], ...]:
    """Return name, time of change (ns) and size of the newest summary files, newest first; those dated ahead last.

    It is what a cache of their contents depends on. Without the folder there are none.

    Raises
    ------
    ChurnopsError
        If the folder cannot be read.
    """
    try:
        # Names hold times: those of a clock that was ahead must not push out the others, so they come last.
        now = f"retraining_summary_{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}.json"
        names = sorted((e.name for e in folder.iterdir() if FILE_NAME.fullmatch(e.name)), reverse=True)
        names = sorted(names, key=lambda name: name > now)[:most]
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise ChurnopsError(f"{folder} cannot be read: {error.strerror}") from None
    found = []
    for name in names:
        with suppress(FileNotFoundError):  # somebody tidies up meanwhile
            status = (folder / name).lstat()
            found.append((name, status.st_mtime_ns, status.st_size))
    return tuple(found)


def read_summaries(folder: Path, names: Sequence[str]) -> tuple[list[SummaryDocument], list[Damaged]]:
    """Read summary files, in the order of `names`."""
    found, damaged = [], []
    for name in names:
        try:
            found.append(_summary(folder, name))
        except ValueError as error:
            damaged.append(Damaged(name, str(error)))
    return found, damaged


def damaged_sentence(damaged: Sequence[Damaged]) -> str | None:
    """Say in a sentence which files are not shown; None if all are."""
    if not damaged:
        return None
    named = ", ".join(f"{d.file} ({d.why})" for d in damaged[:3])
    more = f" and {len(damaged) - 3} more" if len(damaged) > 3 else ""
    return f"Not shown, as damaged: {named}{more}."


def _summary(folder: Path, name: str) -> SummaryDocument:
    summary = SummaryDocument.read(read_document(folder / name))
    if summary.started is not None:
        return summary
    started = datetime.strptime(name[19:-5], "%Y%m%dT%H%M%S.%fZ").replace(tzinfo=UTC)
    return summary.model_copy(update={"started": started})
