"""Summary of a discovered table for one screen: what was found, what was decided, and what to check."""

import os
from collections import Counter
from pathlib import Path

from churnops.discovery.discover import Discovery
from churnops.discovery.evaluation_plan import held_out_of_rarer, is_too_small

SHOWN = 8
"""Number of columns named in one line."""
KINDS = {
    "number": ("number", "numbers"),
    "integer": ("whole number", "whole numbers"),
    "category": ("category", "categories"),
    "flag": ("flag", "flags"),
    "date": ("date", "dates"),
}
"""Words for one input of a kind, and for several."""


def summary(table: Discovery, config: Path) -> str:
    """Return the text for the terminal."""
    target = table.target
    churned = f"{target.counts[1]:,} customers ({target.churn_rate:.1%}) churned"
    lines = [
        f"Found    {table.rows:,} rows, {len(table.columns) + 1} columns; {churned}",
        *_forms(table),
        f"Decided  {target.choices[1]!r} in {target.header!r} means churned: {target.reason}",
    ]
    kinds = Counter(str(decision.kind) for decision in table.columns)
    inputs = ", ".join(f"{kinds[kind]} {words[kinds[kind] > 1]}" for kind, words in KINDS.items() if kinds[kind])
    lines.append(f"         inputs: {inputs}")
    if identifier := next((d for d in table.columns if d.kind == "id"), None):
        lines.append(f"         {identifier.header!r} identifies the customer")
    if table.time:
        lines.append(
            f"         {table.time.header!r} is the time of the row: the latest are held out (evaluation.split: time)"
        )
    elif is_too_small(table):
        lines.append(
            f"         no customer is held out, because only {held_out_of_rarer(table)} of the rarer outcome would be: "
            "repeated cross-validation (evaluation.split: repeated)"
        )
    left = [d for d in table.columns if d.kind is None]
    if left:
        lines.append(f"         left out: {_named([d.header for d in left])} (reasons in {config.name})")
    lines += [f"Check    {line}" for line in checks(table)]
    place = "" if config.parent.resolve() == Path.cwd() else f"cd {os.path.relpath(config.parent)} && "
    lines += ["", f"{os.path.relpath(config)} is written. Next: {place}churnops run"]
    return "\n".join(lines)


def checks(table: Discovery) -> list[str]:
    """Return a line for each decision that a person should check, leaks first."""
    target = table.target
    lines = []
    for leak in table.leaks:
        reason = "left out" if leak.certain else "still an input: is it known before the customer leaves?"
        lines.append(f"{leak.header!r} may contain the outcome: {leak.evidence}; {reason}")
    if target.check:
        lines.append(f"does {target.choices[1]!r} mean churned? It is the rarer value; else give --positive VALUE")
    if table.time and not any(d.kind == "id" for d in table.columns):
        lines.append("no column identifies the customer: give --id HEADER if a customer has several rows")
    if target.unknown:
        lines.append(
            f"{target.unknown:,} rows have no outcome in {target.header!r}: they are left out (data.max_broken_rows)"
        )
    leaking = {leak.header for leak in table.leaks}
    lines += [f"{d.header!r} {d.reason}" for d in table.columns if d.check and d.header not in leaking]
    return lines


def _forms(table: Discovery) -> list[str]:
    forms = table.forms
    parts = []
    if table.missing:
        parts.append(f"missing values written as {', '.join(map(repr, table.missing))}")
    if forms.encoding != "utf-8":
        parts.append(f"encoding {forms.encoding}")
    if forms.decimal != ".":
        parts.append("decimal commas")
    if forms.thousands:
        parts.append(f"thousands marks {forms.thousands!r}")
    return [f"         {'; '.join(parts)}"] if parts else []


def _named(headers: list[str]) -> str:
    more = f" and {len(headers) - SHOWN} more" if len(headers) > SHOWN else ""
    return ", ".join(map(repr, headers[:SHOWN])) + more
