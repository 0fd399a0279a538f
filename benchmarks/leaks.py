"""Columns with the outcome in another form, planted in the public tables: how many of them `churnops init` names."""

import csv
import string
import tempfile
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, norm
from sklearn.metrics import roc_auc_score

from benchmarks.harness import Claim, Result
from benchmarks.table_files import TABLES, Table
from churnops.discovery.discover import Discovery, discover

STRENGTHS = (0.999, 0.97, 0.93)  # ROC-AUC of a planted column alone
NAMED = STRENGTHS[:2]  # strengths that must be named
TRIALS, SHARE, WRONG = 25, 0.95, 0.005
START = date(2023, 1, 1)
Outcome = NDArray[np.bool_]
Cells = list[str]
Plant = Callable[[np.random.Generator, Outcome, float], Cells]


def measure() -> Result:
    """Plant every kind of leak at every strength, 25 times in turn over the tables."""
    named = {(kind, strength): 0 for kind in KINDS for strength in STRENGTHS}
    left = dict(named)
    tables = list(TABLES.values())
    for trial in range(TRIALS):
        table = tables[trial % len(tables)]
        table.write()
        for headers, discovery in _planted(table, np.random.default_rng(trial)):
            leaks = {leak.header for leak in discovery.leaks}
            inputs = {column.header for column in discovery.columns if column.kind not in (None, "id")}
            for header, case in headers.items():
                named[case] += header in leaks
                left[case] += header not in inputs
    wrong, columns = _named_wrongly(tables)
    return Result(
        title="Leaks",
        about=(
            f"{TRIALS} planted columns of each of {len(KINDS)} kinds at each of {len(STRENGTHS)} strengths, in turn in "
            f"the {len(tables)} public tables (the training rows of their first fold). Strength is the ROC-AUC of the "
            "column alone: for the churn rates of its values, or of the rows in its order. A leak counts as named if "
            "`churnops init` lists the column as one that may contain the outcome. Columns of the tables as they are "
            "count as named wrongly. Limits are Wilson's."
        ),
        claims=[
            *(_claim(strength, [named[kind, strength] for kind in KINDS]) for strength in STRENGTHS),
            _wrong_claim(len(wrong), columns),
        ],
        tables=[(f"Named, of {TRIALS} planted columns", _rows(named, left))],
        notes=[
            "In brackets: planted columns that are no inputs of the model: ids, and columns left out as certain leaks.",
            *([f"Named wrongly: {', '.join(wrong)}."] if wrong else []),
        ],
    )


def _planted(table: Table, random: np.random.Generator) -> list[tuple[Mapping[str, tuple[str, float]], Discovery]]:
    """Return the planted headers with kind and strength, and the discovery of the table with them."""
    together = [(kind, strength) for kind in KINDS if kind != "id" for strength in STRENGTHS]
    alone = [[("id", strength)] for strength in STRENGTHS]  # a table has one id
    results = []
    for cases in (together, *alone):
        headers = {f"planted {place}": case for place, case in enumerate(cases)}
        results.append((headers, _discovered(table, headers, random)))
    return results


def _discovered(table: Table, headers: Mapping[str, tuple[str, float]], random: np.random.Generator) -> Discovery:
    """Return the discovery of a table with planted columns; a planted id takes the place of the table's."""
    with table.file_of("train", 0).open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file, delimiter=table.separator)
    outcome = np.array([row[header.index(table.target)] == table.positive for row in rows])
    columns = [KINDS[kind](random, outcome, strength) for kind, strength in headers.values()]
    has_id = any(kind == "id" for kind, _ in headers.values())
    dropped = header.index(table.id) if has_id and table.id else None
    kept = [place for place in range(len(header)) if place != dropped]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "planted.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, delimiter=table.separator, lineterminator="\n")
            writer.writerow([*headers, *(header[place] for place in kept)])
            writer.writerows([*new, *(row[place] for place in kept)] for *new, row in zip(*columns, rows, strict=True))
        return discover([path], table.target, identifier=next(iter(headers)) if has_id else None)


def _copy(random: np.random.Generator, outcome: Outcome, strength: float) -> Cells:
    """Return the outcome in words, with a share of errors."""
    return ["yes" if value else "no" for value in _flipped(random, outcome, strength)]


def _recoded(random: np.random.Generator, outcome: Outcome, strength: float) -> Cells:
    """Return three codes for either outcome, with a share of errors."""
    codes = random.permutation([f"{letter}{digit}" for letter in "KQX" for digit in "27"]).reshape(2, 3)
    return [str(codes[int(value), random.integers(3)]) for value in _flipped(random, outcome, strength)]


def _noisy(random: np.random.Generator, outcome: Outcome, strength: float) -> Cells:
    """Return a number that is higher for customers who churned."""
    return [f"{100 + 15 * value:.2f}" for value in _normal(random, outcome, strength)]


def _date(random: np.random.Generator, outcome: Outcome, strength: float) -> Cells:
    """Return a date that is filled in after customers churned, with a share of errors."""
    days = random.integers(0, 700, outcome.size)
    filled = _flipped(random, outcome, strength)
    return [str(START + timedelta(days=int(day))) if value else "" for day, value in zip(days, filled, strict=True)]


def _id(random: np.random.Generator, outcome: Outcome, strength: float) -> Cells:
    """Return numbers without repetition in an order that depends on the outcome."""
    ranks = np.argsort(np.argsort(_normal(random, outcome, strength)))
    numbers = 100_000 + np.cumsum(random.integers(1, 5, outcome.size))
    return [str(number) for number in numbers[ranks]]


def _proxy(random: np.random.Generator, outcome: Outcome, strength: float) -> Cells:
    """Return a number whose low and high values belong to customers who churned, or a category of eight levels."""
    if random.random() < 0.5:
        value = _normal(random, outcome, strength)
        sign = random.choice((-1.0, 1.0), outcome.size)
        return [f"{500 + 60 * number:.1f}" for number in sign * (value - value.min())]
    letters = random.permutation(list(string.ascii_uppercase[:8]))
    return [str(letters[level]) for level in _levels(random, outcome, strength)]


def _levels(random: np.random.Generator, outcome: Outcome, strength: float) -> NDArray[np.intp]:
    """Return one of eight levels for each row, whose order has the strength as ROC-AUC."""
    noise = random.normal(size=outcome.size)
    shares = (~outcome).mean() + np.array([-0.1, -0.04, -0.02, 0, 0.02, 0.04, 0.1])
    low, high = 0.0, 20.0  # difference of the outcomes in standard deviations
    for _ in range(30):
        middle = (low + high) / 2
        value = noise + outcome * middle
        levels = np.searchsorted(np.quantile(value, shares.clip(0.001, 0.999)), value)
        low, high = (middle, high) if roc_auc_score(outcome, levels) < strength else (low, middle)
    return levels


def _flipped(random: np.random.Generator, outcome: Outcome, strength: float) -> Outcome:
    """Return the outcome with errors, as many in either outcome's rows that its ROC-AUC is the strength."""
    return outcome ^ (random.random(outcome.size) < 1 - strength)


def _normal(random: np.random.Generator, outcome: Outcome, strength: float) -> NDArray[np.float64]:
    """Return normally distributed numbers that differ by outcome, so that their ROC-AUC is the strength."""
    return random.normal(size=outcome.size) + outcome * norm.ppf(strength) * np.sqrt(2)


KINDS: Mapping[str, Plant] = {
    "copy": _copy,
    "recoded copy": _recoded,
    "noisy copy": _noisy,
    "date after the outcome": _date,
    "id": _id,
    "proxy number or category": _proxy,
}


def _named_wrongly(tables: list[Table]) -> tuple[list[str], int]:
    """Return the columns of the tables that are named, and the number of all columns but the targets."""
    wrong, columns = [], 0
    for table in tables:
        discovery = discover([table.file_of("train", 0)], table.target)
        wrong += [f"{leak.header} of {table.name}" for leak in discovery.leaks]
        columns += len(discovery.columns)
    return wrong, columns


def _claim(strength: float, named: list[int]) -> Claim:
    hits, trials = sum(named), TRIALS * len(named)
    low, high = _wilson(hits, trials)
    target = SHARE if strength in NAMED else None
    return Claim(f"named of strength {strength:g}", hits / trials, target=target, at_least=True, low=low, high=high)


def _wrong_claim(wrong: int, columns: int) -> Claim:
    low, high = _wilson(wrong, columns)
    return Claim(f"named wrongly of {columns} columns", wrong / columns, target=WRONG, low=low, high=high)


def _wilson(hits: int, trials: int) -> tuple[float, float]:
    """Return the ends of Wilson's 95 % interval of a share."""
    interval = binomtest(hits, trials).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def _rows(named: Mapping[tuple[str, float], int], left: Mapping[tuple[str, float], int]) -> list[tuple[str, ...]]:
    header = ("kind", *(f"ROC-AUC {strength:g}" for strength in STRENGTHS))
    rows = [(kind, *(f"{named[kind, strength]} ({left[kind, strength]})" for strength in STRENGTHS)) for kind in KINDS]
    return [header, *rows]
