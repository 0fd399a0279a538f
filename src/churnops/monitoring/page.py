"""A monitoring report as one HTML page: opens offline, loads and runs nothing, and stays small with many columns."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from churnops.data.profile import Profile
from churnops.evaluation.metrics import METRIC_LABELS
from churnops.model.reference import SCORE
from churnops.monitoring.budget import TRIGGER_LABELS, reason_without_prefix
from churnops.monitoring.document import LabelsPart
from churnops.monitoring.drift.finding import EFFECT_LABELS, TEST_LABELS
from churnops.monitoring.figures import column_figure, interval_svg
from churnops.monitoring.messages import MESSAGES
from churnops.monitoring.numbers import finite, metric, moment, number, p_text
from churnops.schema import Schema
from churnops.settings import DEMONSTRATION, LIVE
from churnops.templates import macro, render
from churnops.words import capital, heading, title, words

LIMIT = 300_000
"""Limit of a page's bytes, for any number of columns and choices."""
MOST_FIGURES = 60
CANNOT_TELL = "cannot tell"
_SPARE = 2_000  # bytes of the sentences around the columns

Draw = Callable[[Mapping[str, Any]], str]
"""Returns the figure of a column, as SVG, or "" without one."""


class _Mark(NamedTuple):
    """Verdict in one or two words that stand out; kinds are yes, maybe, no and untold."""

    kind: str
    text: str


@dataclass(frozen=True)
class _Columns:
    """All columns: the first ones as cards with figures, the next ones as rows of a table (HTML), the rest counted."""

    cards: list[str]
    rows: list[str]
    left_out: int
    p_label: str

    @property
    def count(self) -> str:
        """Number of all columns."""
        return f"{len(self.cards) + len(self.rows) + self.left_out:,}"


def report_page(document: Mapping[str, Any], reference: Profile, batch: Profile, schema: Schema) -> str:
    """Return the page of a monitoring report, under `LIMIT` bytes.

    Parameters
    ----------
    document
        The JSON report, `report_version` 2.
    reference, batch
        Profiles of the columns, the target and the score; the batch is counted in the cells of the reference. A
        column without a profile has no figure.
    schema
        Schema with the choices of categories.

    Notes
    -----
    The columns that differ most are cards with figures, the others rows of a table. If there are too many for the
    limit, the page shows how many are left out.
    """

    def figure(column: Mapping[str, Any]) -> str:
        return column_figure(column["name"], reference, batch, schema)

    drift, from_journal = document["feature_drift"], document["window"] is not None
    recommended = document["recommend_retraining"]
    headline, events = _verdict(recommended)
    cautions = [caution for caution in document.get("cautions") or () if caution["fired"]]
    fired = _fired(recommended) | {caution["name"] for caution in cautions}
    values = {
        "title": f"Monitoring of {document['model_version']}, {moment(document['timestamp'])}",
        "banner": DEMONSTRATION if document.get("demonstration") else "",
        "headline": headline,
        "events": events + list(map(_event, cautions)),
        "todo": [MESSAGES[name].todo for name in MESSAGES if name in fired][:2],
        "overview": _overview(document),
        "triggers": [_trigger(trigger) for trigger in recommended["triggers"]],
        "statistics": _statistics(recommended["triggers"], document["performance"]),
        "looks": _looks(recommended),
        "performance": _performance(document["performance"], from_journal),
        "from_journal": from_journal,
        "singles": [_card(column, figure, schema) for column in _singles(document, schema)],
        "columns_reason": f"{capital(drift['reason'])}.",
    }
    room = LIMIT - _SPARE - _size(render("monitoring.html", **values, columns=_Columns([], [], 0, "")))
    return render("monitoring.html", **values, columns=_columns(drift["columns"], figure, schema, room))


def _overview(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the facts at the head of the page, by name."""
    window = document["window"]
    kind = ", simulated" if document["simulated"] else ", of a past window" if document.get("past") else ""
    acts_as = document.get("acts_as", LIVE)  # older reports do not have it
    pairs = [
        ("When", moment(document["timestamp"])),
        ("Model", document["model_version"]),
        ("Customers", f"{document['rows']:,}{kind}"),
        ("From", document["source"]),
    ]
    if document.get("repeated_rows"):
        pairs.append(("Rows left out", f"{document['repeated_rows']:,}: copies of other rows"))
    if acts_as != LIVE:
        pairs.append(("Source", acts_as or "none: this report has no consequences"))
    if window:
        pairs.append(("Window", f"{moment(window['since'])} to {moment(window['until'])}"))
    if document.get("examined_before"):
        pairs.append(("Examined", "already, by an earlier cycle: this report causes no alert and no retraining"))
    return pairs


def _looks(recommended: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the facts about the error budget, by name."""
    look, budget = recommended["look"], recommended["budget"]
    pairs = [] if look is None else [("Look", f"number {look}")]
    return pairs if budget is None else [*pairs, ("Chance of a false recommendation, over all looks", number(budget))]


def _verdict(recommended: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Return the headline, and the sentences that explain it."""
    triggers = recommended["triggers"]
    if recommended["value"]:
        return "Retraining is recommended", [_event(trigger) for trigger in triggers if trigger["fired"]]
    unknown = sum(trigger["fired"] is None for trigger in triggers)
    if unknown == len(triggers):
        return "Cannot tell whether to retrain", [f"{capital(trigger['reason'])}." for trigger in triggers]
    waiting, why = sum(map(_waits, triggers)), "No trigger fired"
    if waiting:
        why += f"; for {waiting} of {len(triggers)}, the difference is big but not certain yet"
    if unknown:
        why += f"; {unknown} of {len(triggers)} {'is' if unknown == 1 else 'are'} unknown"
    return "Retraining is not recommended", [f"{why}."]


def _fired(recommended: Mapping[str, Any]) -> set[str]:
    return {trigger["name"] for trigger in recommended["triggers"] if trigger["fired"]}


def _event(trigger: Mapping[str, Any]) -> str:
    """Return a sentence on a trigger or caution that fired: the event, and the numbers behind it."""
    message = MESSAGES.get(trigger["name"])
    return f"{message.event if message else capital(trigger['name'])}: {reason_without_prefix(trigger['reason'])}."


def _waits(trigger: Mapping[str, Any]) -> bool:
    """Return whether the difference is big and not certain; older reports lack `big`."""
    return bool(trigger.get("big")) and trigger["fired"] is False


def _trigger(trigger: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "label": capital(TRIGGER_LABELS.get(trigger["name"], trigger["name"])),
        "verdict": _Mark("maybe", "not certain yet")
        if _waits(trigger)
        else _mark(trigger["fired"], "fired", "not fired"),
        "reason": capital(reason_without_prefix(trigger["reason"])),
    }


def _statistics(
    triggers: Iterable[Mapping[str, Any]], performance: Mapping[str, Any]
) -> list[tuple[str, tuple[str, str]]]:
    """Return the name, p-value and level of each trigger, and of each test of performance; older reports lack tests."""
    rows = []
    for trigger in triggers:
        label, level = capital(TRIGGER_LABELS.get(trigger["name"], trigger["name"])), trigger["level"]
        rows.append((label, (p_text(trigger["p_value"]), number(level))))
        tests = performance.get("tests") or () if trigger["name"] == "performance" else ()
        share = level / len(tests) if tests and level is not None else None
        for test in tests:
            against = "threshold" if test["name"] == "threshold" else "expected ROC-AUC"
            rows.append((f"{label}, against the {against}", (p_text(test["p_value"]), number(share))))
    return rows


def _mark(value: bool | None, yes: str, no: str) -> _Mark:
    """Return a verdict in words; None is "cannot tell"."""
    return _Mark("untold", CANNOT_TELL) if value is None else _Mark("yes", yes) if value else _Mark("no", no)


def _performance(performance: Mapping[str, Any], from_journal: bool) -> dict[str, Any]:
    """Return the metrics, ROC-AUC beside its expected value, and the number of known outcomes."""
    labels, promised, auc = performance["labels"], (performance["promised"] or {}), performance["delong"]
    shown = {"reason": f"{capital(performance['reason'])}.", "figure": "", "headline": ""}
    if auc and all(finite(auc[part]) for part in ("value", "low", "high")):
        marks = [("limit", performance["line"]), ("expected", promised.get("roc_auc"))]
        shown["figure"] = interval_svg(auc["value"], auc["low"], auc["high"], [(n, m) for n, m in marks if finite(m)])
        shown["headline"] = f"ROC-AUC {auc['value']:.3f}"
    rows = []
    for name, measured in (performance["metrics"] or {}).items():
        bounds = {"roc_auc": (performance["line"], performance["threshold"])}.get(name, (None, None))
        cells = metric(measured["value"]), _interval(measured), *map(metric, (promised.get(name), *bounds))
        rows.append((capital(METRIC_LABELS.get(name, name)), cells))
    of = "that are due" if from_journal else "customers"
    pairs = [("Outcomes known", f"{labels['labelled']:,} of {labels['due']:,} {of}")]
    if waiting := LabelsPart.read(labels).waiting_sentence:
        pairs.append(("Not due yet", waiting))
    if finite(labels["median_age_days"]):
        pairs.append(("Median age of their predictions", f"{labels['median_age_days']:.0f} days"))
    if labels["oldest"] and labels["newest"]:
        pairs.append(("Dates of their predictions", f"{moment(labels['oldest'])} to {moment(labels['newest'])}"))
    return shown | {"metrics": rows, "facts": pairs, "history": list(map(_past, performance.get("history") or ()))}


def _past(window: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Return the name and the cells of an earlier window's row."""
    since, until = moment(window["window"]["since"]), moment(window["window"]["until"])
    known = f"{window['labels']['labelled']:,} of {window['labels']['due']:,}"
    return f"{since} to {until}", (known, metric(window["value"]), _interval(window))


def _interval(measured: Mapping[str, Any]) -> str:
    return f"{metric(measured['low'])} to {metric(measured['high'])}" if finite(measured["low"]) else "–"


def _singles(document: Mapping[str, Any], schema: Schema) -> list[Mapping[str, Any]]:
    score = {"name": SCORE, "kind": "score"} | document["prediction_drift"]
    return [score, {"name": schema.target.name, "kind": "target"} | document["target_drift"]]


def _columns(columns: Iterable[Mapping[str, Any]], figure: Draw, schema: Schema, room: int) -> _Columns:
    """Show columns in at most `room` bytes: cards with figures first, then rows of a table.

    Cards leave free the bytes that all columns would take as rows, but at most two thirds of `room`.
    """
    ordered = sorted(columns, key=_place)
    adjusted = any(finite(column["adjusted_p_value"]) for column in ordered)
    rows = [_row(column, "adjusted_p_value" if adjusted else "p_value", schema) for column in ordered]
    kept = min(sum(map(_size, rows)), 2 * room // 3)
    cards = _fitting((_card(column, figure, schema) for column in ordered[:MOST_FIGURES]), room - kept)
    listed = _fitting(rows[len(cards) :], room - sum(map(_size, cards)))
    return _Columns(cards, listed, len(rows) - len(cards) - len(listed), "Adjusted p" if adjusted else "p")


def _fitting(pieces: Iterable[str], room: int) -> list[str]:
    """Return the first pieces that fit into `room` bytes, without rendering the later ones."""
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
    """Return a sort key: drifted columns, others, unknown verdicts; in each group, the largest effects first."""
    effect = column["effect"]
    return column["drifted"] is None, not column["drifted"], -abs(effect) if finite(effect) else 0.0


def _row(column: Mapping[str, Any], p_value: str, schema: Schema) -> str:
    result = {True: "drifted", False: "no drift", None: f"{CANNOT_TELL}: {column['reason']}"}[column["drifted"]]
    test = TEST_LABELS.get(column["test"], column["test"])
    cells = test, number(column["effect"]), p_text(column[p_value]), result
    return macro("monitoring_parts.html", "row")(column_title(column["name"], schema), cells)


def _card(column: Mapping[str, Any], figure: Draw, schema: Schema) -> str:
    test = column["test"]
    pairs = [("Test", TEST_LABELS.get(test, test))]
    if finite(column["effect"]):
        pairs.append((capital(EFFECT_LABELS.get(test, "effect")), number(column["effect"])))
    if finite(column["statistic"]) and test != "ks":  # the statistic of "ks" is its effect
        pairs.append(("Statistic", number(column["statistic"])))
    for label, key in (("p", "p_value"), ("Adjusted p", "adjusted_p_value")):
        if finite(column.get(key)):
            pairs.append((label, p_text(column[key])))
    root = column.get("linked_to")
    shown = {
        "title": column_title(column["name"], schema),
        "verdict": _mark(column["drifted"], "drifted", "no drift"),
        "figure": figure(column),
        "facts": pairs,
        "reason": column["reason"],
        "root": column_title(root, schema) if root else "",
    }
    return macro("monitoring_parts.html", "card")(shown)


def column_title(name: str, schema: Schema) -> str:
    """Return a column's label and unit, or its name as words if it has no label."""
    column = schema.by_name.get(name)
    return heading(title(column), column.unit) if column else words(name)


def ordered_columns(document: Mapping[str, Any], schema: Schema) -> list[Mapping[str, Any]]:
    """Return the results of score, outcome and columns in the order of the page."""
    return [*_singles(document, schema), *sorted(document["feature_drift"]["columns"], key=_place)]
