"""Forget one customer: remove their rows from the journal and from every file of the project, with a receipt."""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from churnops.address import is_object_address
from churnops.data.forget import WRITTEN, count_rows_of, remove_rows_of
from churnops.data.identity import Identities, customer_hashes
from churnops.errors import DataError, StoreError, reason_of
from churnops.files import as_text, write_flushed
from churnops.project import Project
from churnops.registry.place import Place
from churnops.registry.trained_on import load_trained_on, save_trained_on, trained_on_path
from churnops.schema import is_blank
from churnops.scoring.manifest import MANIFEST
from churnops.scoring.removal import is_listed, remove_rows_of_part
from churnops.settings import Settings
from churnops.settings.sections import STORE_COPIES

NOT_REACHED: tuple[str, ...] = (
    "backups and copies of the journal and of files, here and elsewhere",
    "the parameters of trained models",
    "rows without ids: artifacts in MLflow (merged.parquet, held-out rows, batches) and production_batch files in the "
    "folder of reports",
    "counts, such as profiles, reports and the reference of a model",
    "results of predict outside the project's folder, Feast's stores, PostgreSQL's log, and logs of other programs",
)
UNFINISHED = ".unfinished"
OPEN = (
    "unused pages of the journal's file and its log, because a process has the journal open or the disk is full: stop "
    "every process, and repeat the command"
)


@dataclass(frozen=True)
class Receipt:
    """Rows of a customer that were removed, or would be.

    Attributes
    ----------
    customer_sha256
        SHA-256 of the id. Whoever knows the id can compare it; the id itself is in no receipt.
    done
        False if nothing was removed, because the command only counts.
    tables, files
        Number of rows by table of the journal, and by file.
    models
        Number of models whose list of training customers had the hash of the id.
    by_hand
        Files that the customer's rows must be removed from by hand, with the reason.
    not_reached
        Places that this command cannot reach.
    """

    at: str
    customer_sha256: str
    done: bool
    tables: dict[str, int]
    files: dict[str, int]
    models: int
    by_hand: dict[str, str] = field(default_factory=dict)
    not_reached: tuple[str, ...] = NOT_REACHED


def forget(settings: Settings, customer: str, *, only_count: bool) -> tuple[Receipt, Path | None]:
    """Remove a customer's rows; return the receipt and its path. With `only_count` nothing is changed or written.

    Raises
    ------
    ChurnopsError
        If the id is blank, or the journal does not answer. An unreadable file is listed under `by_hand`.
    """
    if is_blank(customer):  # it would remove every row without an id
        raise DataError("the customer's id has no visible character")
    from churnops.journal.forget import count_customer, earlier_files, forget_customer, rewrite_unused_pages

    now, url = datetime.now(UTC), settings.database_url(settings.journal.url)
    files, by_hand = _in_files(settings, customer, only_count)
    with Project.open(settings) as project:
        tables = (count_customer if only_count else forget_customer)(project.engine, customer)
        is_file = project.engine.dialect.name == "sqlite"
        models = _in_trained_on(project.place, customer, only_count)
    by_hand |= {_name(path, settings): "an earlier journal or its log: remove it" for path in earlier_files(url)}
    places = NOT_REACHED
    if not only_count and is_file and not rewrite_unused_pages(url):
        places = (OPEN, *NOT_REACHED)
    digest = hashlib.sha256(customer.encode()).hexdigest()
    receipt = Receipt(now.isoformat(timespec="seconds"), digest, not only_count, tables, files, models, by_hand, places)
    if only_count:
        return receipt, None
    path = settings.path(settings.monitoring.directory) / f"forgotten_{now:%Y%m%dT%H%M%S.%fZ}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_flushed(path, (json.dumps(asdict(receipt), indent=2) + "\n").encode())
    return receipt, path


def _in_files(settings: Settings, customer: str, only_count: bool) -> tuple[dict[str, int], dict[str, str]]:
    """Count or remove the customer's rows in all tables; return their numbers, and the files to change by hand."""
    rows: dict[str, int] = {}
    by_hand = {text: "a table in an object store" for text in _declared(settings) if is_object_address(text)}
    if is_object_address(settings.registry.directory):
        by_hand[f"{settings.registry.directory}/trained_on"] = "hashes of the ids of training customers"
    for path in _tables(settings):
        name = _name(path, settings)
        if path.suffix.lower() == ".sql":
            by_hand[name] = "a query: remove the rows in its database"
            continue
        if path.suffix == UNFINISHED:
            by_hand[name] = "an interrupted predict: type its command again, or remove the folder"
            continue
        try:
            count = count_rows_of(path, settings.table, customer)
            if count and path.suffix.lower() not in WRITTEN:
                by_hand[name] = f"rows of the customer in a workbook: {count:,}"
            elif count and path.is_relative_to(settings.root.resolve() / STORE_COPIES):
                by_hand[name] = f"{count:,} rows in a copy: change the object in its store, then delete the copy"
            elif count and (path.parent / MANIFEST).exists() and not is_listed(path):
                by_hand[name] = f"rows of the customer in a file that {MANIFEST} beside it does not list: {count:,}"
            elif count:
                remove = remove_rows_of_part if (path.parent / MANIFEST).exists() else remove_rows_of
                rows[name] = count if only_count else remove(path, settings.table, customer)
        except DataError as error:
            by_hand[name] = reason_of(error).removeprefix(str(path)).lstrip(": ")
    return rows, by_hand


def _name(path: Path, settings: Settings) -> str:
    return as_text(path.relative_to(settings.root) if path.is_relative_to(settings.root) else path)


def _tables(settings: Settings) -> Iterator[Path]:
    """Yield the tables of `data`, and CSV and Parquet files and unfinished results of the project.

    Hidden files and MLflow's artifacts are left out.
    """
    artifacts = settings.path(settings.tracking.artifacts).resolve()
    seen: set[Path] = set()
    for place in (settings.root, *map(settings.path, _declared(settings))):
        for path in _files_below(place.resolve(), artifacts):
            is_declared = place != settings.root and path.suffix.lower() in (".xlsx", ".sql")
            if path not in seen and (path.suffix.lower() in (*WRITTEN, UNFINISHED) or is_declared):
                seen.add(path)
                yield path


def _declared(settings: Settings) -> list[str]:
    return [*settings.data.raw, *settings.training_tables, *settings.data.production, *settings.data.batches.values()]


def _files_below(place: Path, left_out: Path) -> Iterator[Path]:
    if place.is_file():
        yield place
    for folder, folders, names in os.walk(place):
        yield from (Path(folder, name) for name in sorted(folders) if name[0] == "." and name.endswith(UNFINISHED))
        folders[:] = sorted(f for f in folders if f[0] != "." and Path(folder, f) != left_out)
        yield from (Path(folder, name) for name in sorted(names) if name[0] != ".")


def _in_trained_on(place: Place, customer: str, only_count: bool) -> int:
    """Count or remove the hash of the id in the training customers of each model; return the number of models."""
    number, models = 0, place.folder
    hash_ = customer_hashes([customer])[0]
    for path in sorted(trained_on_path(models, "0" * 64).parent.glob("*.npz")):
        known = load_trained_on(models, path.stem)
        if known is None or hash_ not in known.customers:
            continue
        number += 1
        if not only_count:
            others = known.customers[known.customers != np.uint64(hash_)]
            save_trained_on(models, path.stem, Identities(known.names, others, known.named, known.nameless))
            try:
                place.share_customers(path.stem)
            except StoreError:  # so that a repetition finds the customer again
                save_trained_on(models, path.stem, known)
                raise
    return number
