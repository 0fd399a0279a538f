"""Retraining summaries as the dashboard shows them: the newest files, read within bounds, damaged ones named."""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from churnops.app.shared.documents import count, mapping, moment, number, read_document, text, texts
from churnops.errors import ChurnopsError
from churnops.retraining.outcome import STATUS_LABELS

FILE_NAME = re.compile(r"retraining_summary_\d{8}T\d{6}\.\d{6}Z\.json")
MOST = 20
MOST_CANDIDATES = 50


@dataclass(frozen=True)
class Candidate:
    """One way of training that was tried; None is what the file does not say."""

    name: str
    won: bool
    validation_log_loss: float | None
    validation_roc_auc: float | None
    held_out_roc_auc: float | None


@dataclass(frozen=True)
class Retraining:
    """One retraining, by its summary file."""

    file: str
    started: datetime
    cause: str
    because: tuple[str, ...]
    status: str
    reason: str
    permitted: bool
    permission: tuple[str, ...]
    champion: str
    challenger: str
    version: int | None
    rows: tuple[tuple[str, int], ...]
    candidates: tuple[Candidate, ...]
    check: str
    warning: str
    failures: tuple[str, ...]
    run_id: str
    seconds: float | None


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


def read_summaries(folder: Path, names: Sequence[str]) -> tuple[list[Retraining], list[Damaged]]:
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


def _summary(folder: Path, name: str) -> Retraining:
    document = read_document(folder / name)
    status, started = text(document.get("status")), moment(document.get("started"))
    if status not in STATUS_LABELS:
        raise ValueError("it does not say what came of the retraining")
    seconds = [number(value) for value in mapping(document.get("seconds")).values()]
    rows = [(part, count(n)) for part, n in list(mapping(document.get("rows")).items())[:20]]
    return Retraining(
        file=name,
        started=started or datetime.strptime(name[19:-5], "%Y%m%dT%H%M%S.%fZ").replace(tzinfo=UTC),
        cause=text(document.get("cause")),
        because=texts(document.get("because")),
        status=status,
        reason=text(document.get("reason")),
        permitted=mapping(document.get("permission")).get("value") is True,
        permission=texts(mapping(document.get("permission")).get("reasons")),
        champion=text(document.get("champion")),
        challenger=text(document.get("challenger")),
        version=count(document.get("version")),
        rows=tuple((part, n) for part, n in rows if n is not None),
        candidates=_candidates(document.get("candidates"), text(document.get("winner"))),
        check=text(mapping(document.get("check")).get("reason")),
        warning=text(document.get("warning")),
        failures=texts(document.get("failures")),
        run_id=text(document.get("run_id")),
        seconds=sum(s for s in seconds if s is not None) if seconds else None,
    )


def _candidates(value: object, winner: str) -> tuple[Candidate, ...]:
    found = []
    for name, said in list(mapping(value).items())[:MOST_CANDIDATES]:
        candidate = mapping(said)
        validation = mapping(candidate.get("validation"))
        found.append(
            Candidate(
                name[:200],
                name == winner,
                number(validation.get("log_loss")),
                number(validation.get("roc_auc")),
                number(candidate.get("held_out_roc_auc")),
            )
        )
    return tuple(found)
