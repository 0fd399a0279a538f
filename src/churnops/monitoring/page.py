"""A monitoring report as one HTML page: opens offline, loads and runs nothing, and stays small however many columns."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from churnops.data.profile import ColumnProfile, Profile
from churnops.evaluation.page import html_page
from churnops.model.bundle import SCORE
from churnops.monitoring.figures import bars_svg, clean, histogram_svg, interval_svg
from churnops.schema import Schema

_STYLE = """
:root { --then: #0072b2; --now: #c04a00; }
@media (prefers-color-scheme: dark) { :root { --then: #56b4e9; --now: #e69f00; } }
h2 { margin: 2.5rem 0 .75rem; font-size: 1.2rem; }
h3 { margin: 0; font-size: 1rem; overflow-wrap: anywhere; }
.lead { margin: .5rem 0 1.5rem; color: var(--ink); font-size: 1.1rem; max-width: 50rem; }
.scroll { overflow-x: auto; }
th, td { white-space: nowrap; }
.words { text-align: left; min-width: 26rem; white-space: normal; }
@media (max-width: 40rem) { th, td { padding: .35rem .5rem; } }
td.words { color: var(--muted); }
section > main + .scroll { margin-top: 1.25rem; }
section > h3 { margin: 1.5rem 0 .75rem; }
dl { display: flex; flex-wrap: wrap; gap: .5rem 2rem; margin: 0; font-variant-numeric: tabular-nums; }
dt { color: var(--muted); font-size: .8rem; }
dd { margin: 0; overflow-wrap: anywhere; }
main { grid-template-columns: repeat(auto-fill, minmax(min(100%, 19rem), 1fr)); align-items: start; }
article { padding: .75rem 1rem 1rem; min-width: 0;
  background: var(--paper); border: 1px solid var(--grid); border-radius: .5rem; }
article > * + *, article p { margin: .6rem 0 0; }
article dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(5rem, 1fr)); gap: .25rem .75rem; }
article dd { font-size: .9rem; }
article p { font-size: .85rem; }
header { display: flex; justify-content: space-between; align-items: baseline; gap: 1rem; }
.verdict { white-space: nowrap; font-size: .8rem; padding: .05rem .55rem; color: var(--muted);
  border: 1px solid var(--grid); border-radius: 1rem; }
.yes { border-color: var(--now); color: var(--now); font-weight: 600; }
.untold { border-style: dashed; border-color: var(--muted); }
article svg { display: block; width: 100%; height: auto; }
svg text { font: 11px system-ui, sans-serif; fill: var(--muted); }
path.then { fill: var(--then); fill-opacity: .25; stroke: var(--then); }
rect.then { fill: var(--then); fill-opacity: .55; }
path.now { fill: none; stroke: var(--now); stroke-width: 2; }
rect.now { fill: var(--now); }
text.share { fill: var(--now); }
.axis { stroke: var(--grid); }
.mark { stroke: var(--muted); stroke-dasharray: 3 2; }
.range { stroke: var(--then); stroke-width: 3; }
.value { fill: var(--then); }
.key { margin: 0 0 1rem; }
.key b { color: var(--then); }
.key i { color: var(--now); font-style: normal; font-weight: 600; }
"""
_TRIGGERS = {
    "performance": "Performance", "feature_drift": "Feature drift", "prediction_drift": "Prediction drift",
    "target_drift": "Target drift",
}  # fmt: skip
_METRICS = {
    "roc_auc": "ROC-AUC", "average_precision": "PR-AUC", "log_loss": "Log loss", "brier": "Brier score",
    "calibration_error": "Calibration error", "accuracy": "Accuracy", "precision": "Precision", "recall": "Recall",
    "f1": "F1",
}  # fmt: skip
_TESTS = {
    "ks": "KS", "chi_square": "chi-square", "missing_rate": "missing values",
    "unseen_categories": "unseen choices",
}  # fmt: skip
_EFFECTS = {
    "ks": "distance", "chi_square": "stability index", "missing_rate": "difference of rates",
    "unseen_categories": "share of rows",
}  # fmt: skip
UNTOLD = "cannot tell"


def report_page(document: Mapping[str, Any], reference: Profile, batch: Profile, schema: Schema) -> str:
    """Return the page of a monitoring report.

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
    All text of the document is escaped, and the page forbids itself to run or load anything.
    """

    def figure(column: Mapping[str, Any]) -> str:
        name = column["name"]
        if name not in reference:
            return ""
        then = reference[name]
        return _figure(name, then, batch.get(name, then.empty()), schema)

    columns = document["feature_drift"]["columns"]
    parts = [
        _head(document),
        _section("What could call for retraining", _triggers(document["recommend_retraining"]["triggers"])),
        _section("Performance", _performance(document["performance"])),
        _section("Scores and outcomes", _KEY + _cards(_singles(document, schema), figure)),
        _section("Columns", f"<p>{clean(document['feature_drift']['reason'])}</p>" + _cards(_sorted(columns), figure)),
    ]
    title = f"Monitoring of {document['model_version']}, {_when(document['timestamp'])}"
    return html_page(title, "\n".join(parts), _STYLE)


_KEY = '<p class="key"><b>Filled blue</b>: the reference. <i>Orange</i>: now.</p>'


def _head(document: Mapping[str, Any]) -> str:
    recommended = document["recommend_retraining"]
    window, look = document["window"], recommended["look"]
    untold = sum(trigger["fired"] is None for trigger in recommended["triggers"])
    why = "; ".join(recommended["reasons"])
    if not recommended["value"]:
        some = f"; {untold} of {len(recommended['triggers'])} cannot be told" if untold else ""
        why = why or f"No trigger fired{some}."
    why = why[:1].upper() + why[1:]
    facts = [
        ("When", _when(document["timestamp"])),
        ("Model", document["model_version"]),
        ("Customers", f"{document['rows']:,}{', simulated' if document['simulated'] else ''}"),
        ("From", document["source"]),
    ]
    if window:
        facts.append(("Window", f"{_when(window['since'])} to {_when(window['until'])}"))
    if look is not None:
        facts.append(("Look", f"number {look}; false alarms over all looks: at most {_number(recommended['budget'])}"))
    verdict = "Retraining is recommended" if recommended["value"] else "Retraining is not recommended"
    return f'<h1>{verdict}</h1>\n<p class="lead">{clean(why)}</p>\n{_facts(facts)}'


def _triggers(triggers: Iterable[Mapping[str, Any]]) -> str:
    rows = [
        [
            clean(_TRIGGERS.get(trigger["name"], trigger["name"])),
            _verdict(trigger["fired"], "fired", "not fired"),
            _p(trigger["p_value"]),
            _number(trigger["level"]),
            clean(trigger["reason"]),
        ]
        for trigger in triggers
    ]
    return _table(("Trigger", "Verdict", "p", "Level", "Why"), rows)


def _performance(found: Mapping[str, Any]) -> str:
    """Show the metrics, ROC-AUC against what was promised, and how many outcomes are known."""
    labels, promised = found["labels"], (found["promised"] or {})
    parts = [f"<p>{clean(found['reason'])}</p>"]
    auc = found["delong"]
    if auc and all(_finite(auc[part]) for part in ("value", "low", "high")):
        marks = [("line", found["line"]), ("promised", promised.get("roc_auc"))]
        svg = interval_svg(auc["value"], auc["low"], auc["high"], [(n, m) for n, m in marks if _finite(m)])
        parts.append(f"<main><article><h3>ROC-AUC {auc['value']:.3f}</h3>{svg}</article></main>")
    if found["metrics"]:
        rows = []
        for name, metric in found["metrics"].items():
            bounds = {"roc_auc": (found["line"], found["threshold"])}.get(name, (None, None))
            interval = f"{_metric(metric['low'])} to {_metric(metric['high'])}" if _finite(metric["low"]) else "–"
            cells = [_metric(metric["value"]), interval, *map(_metric, (promised.get(name), *bounds))]
            rows.append([clean(_METRICS.get(name, name)), *cells])
        parts.append(_table(("Metric", "Now", "Interval", "Promised", "Line", "Threshold"), rows))
    known = ("Predictions", "rows"), ("Past the label horizon", "due"), ("With an outcome", "labelled")
    facts = [(name, f"{labels[key]:,}") for name, key in known]
    if _finite(labels["median_age_days"]):
        facts.append(("Median age", f"{labels['median_age_days']:.0f} days"))
    if labels["oldest"] and labels["newest"]:
        facts.append(("Made", f"{_when(labels['oldest'])} to {_when(labels['newest'])}"))
    parts.append(_facts(facts))
    if found.get("history"):
        parts.append(f"<h3>Earlier windows, by the outcomes known now</h3>{_history(found['history'])}")
    return "\n".join(parts)


def _history(windows: Iterable[Mapping[str, Any]]) -> str:
    rows = [
        [
            f"{_when(past['window']['since'])} to {_when(past['window']['until'])}",
            f"{past['labels']['labelled']:,} of {past['labels']['rows']:,}",
            _metric(past["value"]),
            f"{_metric(past['low'])} to {_metric(past['high'])}" if _finite(past["low"]) else "–",
        ]
        for past in windows
    ]
    return _table(("Predictions made", "Outcomes known", "ROC-AUC", "Interval"), rows)


def _singles(document: Mapping[str, Any], schema: Schema) -> list[Mapping[str, Any]]:
    score = {"name": SCORE, "kind": "score"} | document["prediction_drift"]
    return [score, {"name": schema.target.name, "kind": "target"} | document["target_drift"]]


def _sorted(columns: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Largest effect first; what cannot be told comes last."""

    def place(column: Mapping[str, Any]) -> tuple[bool, float]:
        effect = column["effect"]
        return column["drifted"] is None, -abs(effect) if _finite(effect) else 0.0

    return sorted(columns, key=place)


def _cards(columns: Sequence[Mapping[str, Any]], figure: Any) -> str:
    return "<main>\n" + "\n".join(_card(column, figure(column)) for column in columns) + "\n</main>"


def _card(column: Mapping[str, Any], svg: str) -> str:
    test = column["test"]
    facts = [("Test", _TESTS.get(test, test))]
    if _finite(column["effect"]):
        facts.append((_EFFECTS.get(test, "effect").capitalize(), _number(column["effect"])))
    if _finite(column["statistic"]) and test != "ks":  # whose statistic is the distance
        facts.append(("Statistic", _number(column["statistic"])))
    for label, key in (("p", "p_value"), ("Adjusted p", "adjusted_p_value")):
        if _finite(column.get(key)):
            facts.append((label, _p(column[key])))
    root = column.get("linked_to")
    linked = f"<p>Counted with {clean(root)}, which determines it.</p>" if root else ""
    verdict = _verdict(column["drifted"], "drifted", "no drift")
    head = f"<header><h3>{clean(column['name'])}</h3>{verdict}</header>"
    return f"<article>{head}{svg}{_facts(facts)}<p>{clean(column['reason'])}</p>{linked}</article>"


def _figure(name: str, reference: ColumnProfile, batch: ColumnProfile, schema: Schema) -> str:
    column = schema.by_name.get(name)
    if column is None or column.numeric:
        return histogram_svg(name, reference, batch)
    return bars_svg(name, reference, batch, column.choices)


def _section(title: str, content: str) -> str:
    return f"<section><h2>{title}</h2>\n{content}</section>"


def _facts(facts: Iterable[tuple[str, object]]) -> str:
    return "<dl>" + "".join(f"<div><dt>{clean(n)}</dt><dd>{clean(v)}</dd></div>" for n, v in facts) + "</dl>"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of cells that are HTML; a last column "Why" holds words."""
    words = ' class="words"' if head[-1] == "Why" else ""
    header = "".join(f'<th scope="col">{name}</th>' for name in head[:-1]) + f'<th scope="col"{words}>{head[-1]}</th>'
    body = "\n".join(
        f'<tr><th scope="row">{row[0]}</th>'
        + "".join(f"<td>{cell}</td>" for cell in row[1:-1])
        + f"<td{words}>{row[-1]}</td></tr>"
        for row in rows
    )
    table = f"<table><thead><tr>{header}</tr></thead>\n<tbody>{body}</tbody></table>"
    return f'<div class="scroll" tabindex="0">{table}</div>'


def _verdict(value: bool | None, yes: str, no: str) -> str:
    kind, text = ("untold", UNTOLD) if value is None else ("yes", yes) if value else ("no", no)
    return f'<span class="verdict {kind}">{text}</span>'


def _finite(value: Any) -> bool:
    return value is not None and math.isfinite(value)


def _number(value: Any) -> str:
    return f"{value:.3g}" if _finite(value) else "–"


def _metric(value: Any) -> str:
    return f"{value:.3f}" if _finite(value) else "–"


def _p(value: Any) -> str:
    return "–" if not _finite(value) else "< 0.0001" if value < 0.0001 else f"{value:.4f}"


def _when(moment: str) -> str:
    """Return a time as people write it: to the minute, in UTC."""
    return str(moment)[:16].replace("T", " ") + " UTC"
