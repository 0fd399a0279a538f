"""Retraining summaries: the newest files, read within limits; damaged files are named."""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from churnops.errors import ChurnopsError
from churnops.retraining.document import SummaryDocument
from churnops.untrusted import read_document

FILE_NAME = re.compile(r"retraining_summary_\d{8}T\d{6}\.\d{6}Z\.json")
MAX_FILES = 20


@dataclass(frozen=True)
class Damaged:
    """A summary file that cannot be shown, with the reason."""

    file: str
    why: str


def newest_files(folder: Path, limit: int = MAX_FILES) -> tuple[tuple[str, int, int], ...]:
    """Return name, time of change (ns) and size of the newest summary files, as a cache key for their contents.

    The newest comes first; files dated in the future come last. A missing folder has none.

    Raises
    ------
    ChurnopsError
        If the folder cannot be read.
    """
    try:
        # Names contain times. Files dated in the future come last, so that they do not displace others in the limit.
        now = f"retraining_summary_{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}.json"
        names = sorted((e.name for e in folder.iterdir() if FILE_NAME.fullmatch(e.name)), reverse=True)
        names = sorted(names, key=lambda name: name > now)[:limit]
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise ChurnopsError(f"{folder} cannot be read: {error.strerror}") from None
    files = []
    for name in names:
        with suppress(FileNotFoundError):  # the file was deleted meanwhile
            status = (folder / name).lstat()
            files.append((name, status.st_mtime_ns, status.st_size))
    return tuple(files)


def read_summaries(folder: Path, names: Sequence[str]) -> tuple[list[SummaryDocument], list[Damaged]]:
    """Read summary files, in the order of `names`."""
    runs, damaged = [], []
    for name in names:
        try:
            runs.append(_summary(folder, name))
        except ValueError as error:
            damaged.append(Damaged(name, str(error)))
    return runs, damaged


def damaged_sentence(damaged: Sequence[Damaged]) -> str | None:
    """Return a sentence that names the damaged files; None if there are none."""
    if not damaged:
        return None
    named = ", ".join(f"{d.file} ({d.why})" for d in damaged[:3])
    more = f" and {len(damaged) - 3} more" if len(damaged) > 3 else ""
    return f"Damaged files are not shown: {named}{more}."


def _summary(folder: Path, name: str) -> SummaryDocument:
    summary = SummaryDocument.read(read_document(folder / name))
    if summary.started is not None:
        return summary
    started = datetime.strptime(name[19:-5], "%Y%m%dT%H%M%S.%fZ").replace(tzinfo=UTC)
    return summary.model_copy(update={"started": started})
