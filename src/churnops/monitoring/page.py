"""A monitoring report as one HTML page: opens offline, loads and runs nothing, and stays small however many columns."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from churnops.data.profile import ColumnProfile, Profile
from churnops.evaluation.metrics import METRIC_LABELS
from churnops.evaluation.page import html_page, stylesheet
from churnops.model.bundle import SCORE
from churnops.monitoring.budget import TRIGGER_LABELS
from churnops.monitoring.drift.finding import EFFECT_LABELS, TEST_LABELS
from churnops.monitoring.figures import bars_svg, clean, histogram_svg, interval_svg
from churnops.monitoring.markup import (
    UNTOLD,
    facts,
    finite,
    mark,
    metric,
    moment,
    number,
    p_text,
    row,
    section,
    table,
    verdict,
)
from churnops.schema import Schema
from churnops.settings import DEMONSTRATION, LIVE
from churnops.words import capital, heading

LIMIT = 300_000
"""Bytes that a page stays under, however many columns and choices there are."""
MOST_FIGURES = 60
_SPARE = 2_000  # bytes of the sentences around the columns

Draw = Callable[[Mapping[str, Any]], str]
"""Returns the figure of a column, as SVG, or "" without one."""


def report_page(document: Mapping[str, Any], reference: Profile, batch: Profile, schema: Schema) -> str:
    """Return the page of a monitoring report, under `LIMIT` bytes.

    Parameters
    ----------
    document
        The JSON report, `report_version` 2.
    reference, batch
        Profiles of the columns, the target and the score; the batch's in the cells of the reference's. What has none
        is shown without a figure.
    schema
        Names the choices of categories.

    Notes
    -----
    All text of the document is escaped, and the page forbids itself to run or load anything. Many columns have a row
    of a table each, and figures only where they differ most; how many are left out of that is said.
    """

    def figure(column: Mapping[str, Any]) -> str:
        name = column["name"]
        if name not in reference:
            return ""
        then = reference[name]
        return _figure(name, then, batch.get(name, then.empty()), schema)

    found, drift = document["performance"], document["feature_drift"]
    singles = "\n".join(_card(column, figure, schema) for column in _singles(document, schema))
    body = "\n".join(
        [
            _head(document),
            section("What could call for retraining", _triggers(document["recommend_retraining"]["triggers"])),
            section("Performance", _performance(found, from_journal=document["window"] is not None)),
            section("Scores and outcomes", f"{_KEY}<main>\n{singles}\n</main>"),
            f"<section><h2>Columns</h2>\n<p>{clean(drift['reason'])}</p>",
        ]
    )
    title = f"Monitoring of {document['model_version']}, {moment(document['timestamp'])}"
    style = stylesheet("churnops.monitoring", "report.css")
    room = LIMIT - _SPARE - _size(html_page(title, body, style))
    return html_page(title, body + _columns(drift["columns"], figure, schema, room) + "</section>", style)


_KEY = '<p class="key"><b>Filled blue</b>: the reference. <i>Orange</i>: now.</p>'


def _head(document: Mapping[str, Any]) -> str:
    recommended = document["recommend_retraining"]
    window, look, budget = document["window"], recommended["look"], recommended["budget"]
    kind = ", simulated" if document["simulated"] else ", of the past" if document.get("past") else ""
    acts_as = document.get("acts_as", LIVE)  # older reports do not have it
    pairs = [
        ("When", moment(document["timestamp"])),
        ("Model", document["model_version"]),
        ("Customers", f"{document['rows']:,}{kind}"),
        ("From", document["source"]),
    ]
    if acts_as != LIVE:
        pairs.append(("Source", acts_as or "none: nothing follows from this report"))
    if window:
        pairs.append(("Window", f"{moment(window['since'])} to {moment(window['until'])}"))
    if look is not None:
        most = "" if budget is None else f"; false alarms over all looks: at most {number(budget)}"
        pairs.append(("Look", f"number {look}{most}"))
    headline, why = _verdict(recommended)
    banner = f'<p class="lead">{clean(DEMONSTRATION)}</p>\n' if document.get("demonstration") else ""
    return f'{banner}<h1>{headline}</h1>\n<p class="lead">{clean(capital(why))}</p>\n{facts(pairs)}'


def _verdict(recommended: Mapping[str, Any]) -> tuple[str, str]:
    """Return the headline, and why."""
    triggers = recommended["triggers"]
    if recommended["value"]:
        return "Retraining is recommended", "; ".join(recommended["reasons"])
    untold = sum(trigger["fired"] is None for trigger in triggers)
    if untold == len(triggers):
        return "Cannot tell whether to retrain", "; ".join(trigger["reason"] for trigger in triggers)
    waiting, why = sum(map(_waits, triggers)), "No trigger fired"
    if waiting:
        why += f"; {waiting} of {len(triggers)} would, but {'is' if waiting == 1 else 'are'} not certain yet"
    if untold:
        why += f"; {untold} of {len(triggers)} cannot be told"
    return "Retraining is not recommended", f"{why}."


def _waits(trigger: Mapping[str, Any]) -> bool:
    """Return whether the difference is big, and the evidence not enough; older reports do not have the first."""
    return bool(trigger.get("big")) and trigger["fired"] is False


def _triggers(triggers: Iterable[Mapping[str, Any]]) -> str:
    rows = [
        row(
            clean(capital(TRIGGER_LABELS.get(trigger["name"], trigger["name"]))),
            mark("maybe", "not certain yet") if _waits(trigger) else verdict(trigger["fired"], "fired", "not fired"),
            clean(p_text(trigger["p_value"])),
            number(trigger["level"]),
            words=clean(trigger["reason"]),
        )
        for trigger in triggers
    ]
    return table(("Trigger", "Verdict", "p", "Level", "Why"), rows)


def _performance(found: Mapping[str, Any], from_journal: bool) -> str:
    """Show the metrics, ROC-AUC against what was promised, and how many outcomes are known."""
    labels, promised = found["labels"], (found["promised"] or {})
    parts = [f"<p>{clean(found['reason'])}</p>", *([_OLDER] if from_journal else [])]
    auc = found["delong"]
    if auc and all(finite(auc[part]) for part in ("value", "low", "high")):
        marks = [("line", found["line"]), ("promised", promised.get("roc_auc"))]
        svg = interval_svg(auc["value"], auc["low"], auc["high"], [(n, m) for n, m in marks if finite(m)])
        parts.append(f"<main><article><h3>ROC-AUC {auc['value']:.3f}</h3>{svg}</article></main>")
    if found["metrics"]:
        rows = []
        for name, measured in found["metrics"].items():
            bounds = {"roc_auc": (found["line"], found["threshold"])}.get(name, (None, None))
            cells = metric(measured["value"]), _interval(measured), *map(metric, (promised.get(name), *bounds))
            rows.append(row(clean(capital(METRIC_LABELS.get(name, name))), *cells))
        parts.append(table(("Metric", "Now", "Interval", "Promised", "Line", "Threshold"), rows))
    of = "that are due" if from_journal else "customers"
    pairs = [("Outcomes known", f"{labels['labelled']:,} of {labels['due']:,} {of}")]
    if finite(labels["median_age_days"]):
        pairs.append(("Median age of these predictions", f"{labels['median_age_days']:.0f} days"))
    if labels["oldest"] and labels["newest"]:
        pairs.append(("They were made", f"{moment(labels['oldest'])} to {moment(labels['newest'])}"))
    parts.append(facts(pairs))
    if found.get("history"):
        parts.append(f"<h3>Earlier windows, by the outcomes known now</h3>{_history(found['history'])}")
    return "\n".join(parts)


_OLDER = """<p>An outcome is due only after the label horizon: this is measured on the predictions of an earlier window,
as long as this report's and a label horizon before it.</p>"""


def _history(windows: Iterable[Mapping[str, Any]]) -> str:
    rows = [
        row(
            f"{moment(past['window']['since'])} to {moment(past['window']['until'])}",
            f"{past['labels']['labelled']:,} of {past['labels']['due']:,}",
            metric(past["value"]),
            _interval(past),
        )
        for past in windows
    ]
    return table(("Predictions made", "Outcomes known", "ROC-AUC", "Interval"), rows)


def _interval(measured: Mapping[str, Any]) -> str:
    return f"{metric(measured['low'])} to {metric(measured['high'])}" if finite(measured["low"]) else "–"


def _singles(document: Mapping[str, Any], schema: Schema) -> list[Mapping[str, Any]]:
    score = {"name": SCORE, "kind": "score"} | document["prediction_drift"]
    return [score, {"name": schema.target.name, "kind": "target"} | document["target_drift"]]


def _columns(columns: Iterable[Mapping[str, Any]], figure: Draw, schema: Schema, room: int) -> str:
    """Show columns in at most `room` bytes: cards with figures first, then rows of a table.

    Rows of all columns are laid aside before there are cards, up to two thirds of the room.
    """
    ordered = sorted(columns, key=_place)
    adjusted = any(finite(column["adjusted_p_value"]) for column in ordered)
    rows = [_row(column, "adjusted_p_value" if adjusted else "p_value", schema) for column in ordered]
    kept = min(sum(map(_size, rows)), 2 * room // 3)
    cards = _fitting((_card(column, figure, schema) for column in ordered[:MOST_FIGURES]), room - kept)
    listed = _fitting(rows[len(cards) :], room - sum(map(_size, cards)))
    left = len(rows) - len(cards) - len(listed)
    content = "<main>\n" + "\n".join(cards) + "\n</main>"
    if listed:
        first = f"Figures are drawn for {len(cards)} of {len(rows):,} columns"
        head = f"<p>{first}: those that drifted come first, then those that differ most.</p>\n"
        names = "Column", "Test", "Effect", "Adjusted p" if adjusted else "p", "Verdict"
        summary = f"<summary>{len(listed):,} more as a table</summary>"
        content = f"{head}{content}\n<details>{summary}\n{table(names, listed)}</details>"
    if left:
        content += f"\n<p>Left out to keep this page small: {left:,} columns. The JSON report has them.</p>"
    return content


def _fitting(pieces: Iterable[str], room: int) -> list[str]:
    """Take pieces as long as they fit into `room` bytes; those after are never made."""
    taken = []
    for piece in pieces:
        room -= _size(piece)
        if room < 0:
            break
        taken.append(piece)
    return taken


def _size(piece: str) -> int:
    return len(piece.encode()) + 1  # and the end of its line


def _place(column: Mapping[str, Any]) -> tuple[bool, bool, float]:
    """Drifted columns first, each kind by its effect, largest first; what cannot be told comes last."""
    effect = column["effect"]
    return column["drifted"] is None, not column["drifted"], -abs(effect) if finite(effect) else 0.0


def _row(column: Mapping[str, Any], p_value: str, schema: Schema) -> str:
    found = {True: "drifted", False: "no drift", None: f"{UNTOLD}: {clean(column['reason'])}"}[column["drifted"]]
    test = clean(TEST_LABELS.get(column["test"], column["test"]))
    return row(_named(column["name"], schema), test, number(column["effect"]), clean(p_text(column[p_value])), found)


def _card(column: Mapping[str, Any], figure: Draw, schema: Schema) -> str:
    test = column["test"]
    pairs = [("Test", TEST_LABELS.get(test, test))]
    if finite(column["effect"]):
        pairs.append((capital(EFFECT_LABELS.get(test, "effect")), number(column["effect"])))
    if finite(column["statistic"]) and test != "ks":  # whose statistic is the distance
        pairs.append(("Statistic", number(column["statistic"])))
    for label, key in (("p", "p_value"), ("Adjusted p", "adjusted_p_value")):
        if finite(column.get(key)):
            pairs.append((label, p_text(column[key])))
    root = column.get("linked_to")
    linked = f"<p>Counted with {_named(root, schema)}, which determines it.</p>" if root else ""
    head = (
        f"<header><h3>{_named(column['name'], schema)}</h3>{verdict(column['drifted'], 'drifted', 'no drift')}</header>"
    )
    return f"<article>{head}{figure(column)}{facts(pairs)}<p>{clean(column['reason'])}</p>{linked}</article>"


def _named(name: str, schema: Schema) -> str:
    """Return a column's label and unit, or its name without a label."""
    column = schema.by_name.get(name)
    return clean(heading(column.label or name, column.unit) if column else name)


def _figure(name: str, reference: ColumnProfile, batch: ColumnProfile, schema: Schema) -> str:
    column = schema.by_name.get(name)
    if column is None or column.numeric:
        return histogram_svg(name, reference, batch)
    return bars_svg(name, reference, batch, column.choices)
