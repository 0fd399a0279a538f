"""Write the commented `config.yaml` of a discovered table."""

import json
import re
from collections.abc import Iterable, Sequence
from math import ceil
from textwrap import wrap

from churnops.discovery.described import DescribedColumn
from churnops.discovery.discover import Discovery
from churnops.discovery.evaluation_plan import folds_for, is_too_small
from churnops.settings import FAMILIES, default_config
from churnops.settings.rules import LABEL
from churnops.words import words

CHURNERS_TO_COMPARE = 40
"""Number of churned customers that a comparison of two models should have."""
WIDTH = 118
_PLAIN = re.compile(r"[A-Za-zÀ-ÿ][A-Za-zÀ-ÿ0-9_ ./()%+-]*[A-Za-zÀ-ÿ0-9_)%]|[A-Za-z]")
_RESERVED = ("true", "false", "null", "yes", "no", "on", "off", "y", "n", "inf", "nan")


def config_text(table: Discovery, paths: Sequence[str]) -> str:
    """Return the text of `config.yaml`.

    Parameters
    ----------
    paths
        Paths of the tables, as `data.raw` should give them.
    """
    values = {("data", "raw"): _list(paths), ("data", "production"): "[]", ("monitoring", "recipe_columns"): "[]"}
    rows = ceil(CHURNERS_TO_COMPARE / max(table.target.churn_rate, 1e-4))
    if rows > 300:
        values |= {("retraining", "holdout_rows"): str(rows), ("retraining", "min_new_labels"): str(2 * rows)}
    unknown = table.target.unknown / table.rows
    values[("data", "max_broken_rows")] = f"{max(0.01, ceil(unknown * 100) / 100):g}" if unknown < 0.5 else "0"
    values |= {("monitoring", "performance_threshold"): "null", ("evaluation", "threshold"): "auto"}
    values |= {("training", "recipe"): "general", ("training", "families"): _list((*FAMILIES, "blend"))}
    values[("retraining", "families")] = "[logistic_regression, xgboost, blend]"
    if table.time:
        values[("evaluation", "split")] = "time"
    elif is_too_small(table):
        values[("evaluation", "split")] = "repeated"
        values[("training", "folds")] = str(folds_for(table))
    settings, _, _ = default_config().partition("\n# The customer table.")
    settings = _without_derived(settings)
    settings = settings.replace("show their defaults for the telecom table", "have a default")
    for (section, key), value in values.items():
        settings = _with_value(settings, section, key, value)
    return f"{settings}\n\n{_schema(table)}"


def _with_value(text: str, section: str, key: str, value: str) -> str:
    """Return YAML with another value of one key; its comment stays in its column."""
    start = text.index(f"\n{section}:\n")
    line = re.compile(rf"^(  {key}: )([^#\n]*?)( *)(#.*)?$", re.MULTILINE)
    match = line.search(text, start)
    assert match is not None
    before, old, blanks, comment = match.groups(default="")
    room = len(old) + len(blanks) - len(value)
    gap = " " * (0 if not comment else room if 3 <= room <= 40 else 3)
    return f"{text[: match.start()]}{before}{value}{gap}{comment}{text[match.end() :]}"


def _without_derived(text: str) -> str:
    start = text.index("  derived:\n")
    return f"{text[:start]}  derived: []\n{text[text.index('  exclude:', start) :]}"


def _schema(table: Discovery) -> str:
    lines = [
        "# The customer table. kind: number, integer, category, flag, date, id, time or target. `alias` is the header",
        "# in the files. Only required columns are model inputs; only columns with `nullable: true` may have missing",
        "# values in raw tables and requests. `minimum` and `maximum` of a number are limits of its values: none",
        "# is set here. A date may be 2024-03-05, or with `format: day_first` or `month_first` also 05/03/2024. A",
        "# level that a category does not have is scored as other and counted; with `open: false` it is refused.",
        "# Values of a column with `personal: true` are in no journal and message, and in no file but a model, which",
        "# has their distribution.",
        "# Write `actionable: true` at the inputs that people can change for a customer, such as a price or a plan:",
        "# *What if* (dashboard and API) proposes changes of these columns only. None is marked here.",
        "schema:",
        *_forms(table),
        "  columns:",
    ]
    notes = table.notes()
    for decision in table.columns:
        if decision.kind is not None:
            lines += _column(decision, notes.get(decision.header, ""))
    target = table.target
    given = f"name: {table.target_name}, {_alias(target.header, table.target_name)}kind: target"
    lines.append(f"    - {{{given}, choices: {_list(target.choices)}}}   # stayed, churned ({target.reason})")
    left = [decision for decision in table.columns if decision.kind is None]
    if left:
        lines += ["", "  # Left out:"]
        lines += [line for d in left for line in _comment(f"{d.header!r} {d.reason}")]
    return "\n".join(lines) + "\n"


def _forms(table: Discovery) -> list[str]:
    forms = table.forms
    lines = []
    if table.missing:
        lines.append(f"  missing: {_list(table.missing)}   # texts that mean a missing value, besides an empty cell")
    if forms.encoding != "utf-8":
        lines.append(f"  encoding: {forms.encoding}   # of a CSV that is not UTF-8")
    if forms.decimal != ".":
        lines.append(f"  decimal: {_text(forms.decimal)}   # decimal mark of the numbers")
    if forms.thousands:
        lines.append(f"  thousands: {_text(forms.thousands)}   # mark between groups of three digits")
    return lines


def _column(decision: DescribedColumn, note: str) -> list[str]:
    given = f"name: {decision.name}, {_alias(decision.header, decision.name)}kind: {decision.kind}{_label(decision)}"
    given += ", required: false" if decision.kind in ("id", "time") else ""
    given += f", format: {decision.format}" if decision.format != "iso" else ""
    given += f", unit: {_text(decision.unit)}" if decision.unit else ""
    given += ", nullable: true" if decision.nullable else ""
    comment = f"   # {note}" if note else ""
    if not decision.choices:
        return [f"    - {{{given}}}{comment}"]
    choices = _list(decision.choices)
    if len(given) + len(choices) <= WIDTH - 20:
        return [f"    - {{{given}, choices: {choices}}}{comment}"]
    first, *others = _filled([*(f"{_text(choice)}," for choice in decision.choices[:-1]), _text(decision.choices[-1])])
    lines = [f"       choices: [{first}", *(f"                 {line}" for line in others)]
    return [f"    - {{{given},{comment}", *lines[:-1], f"{lines[-1]}]}}"]


def _filled(items: Iterable[str]) -> list[str]:
    """Return lines of items with blanks between them, each as long as fits."""
    lines = [""]
    for item in items:
        if lines[-1] and len(lines[-1]) + 1 + len(item) > WIDTH - 20:
            lines.append("")
        lines[-1] = f"{lines[-1]} {item}".lstrip()
    return lines


def _alias(header: str, name: str) -> str:
    return "" if header == name else f"alias: {_text(header)}, "


def _label(decision: DescribedColumn) -> str:
    """Return the header as label, if it has words that the name does not show."""
    header = " ".join(decision.header.split())
    same = words(decision.name) == header
    return "" if same or " " not in header or not LABEL.allows(header) else f", label: {_text(header)}"


def _list(texts: Iterable[str]) -> str:
    return f"[{', '.join(map(_text, texts))}]"


def _text(text: str) -> str:
    """Return a text as YAML within brackets, in quotes unless it can be nothing but text."""
    if _PLAIN.fullmatch(text) and text.lower() not in _RESERVED:
        return text
    return json.dumps(text, ensure_ascii=False)


def _comment(text: str) -> list[str]:
    return [f"  #   {line}" if n == 0 else f"  #     {line}" for n, line in enumerate(wrap(text, WIDTH - 8) or [""])]
