"""Logic of the Predict page, without Streamlit: form, risk in words, sliders and figure."""

import json
from collections.abc import Mapping
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from churnops.app.predict import upload
from churnops.app.predict.answers import Answer, BundleAnswers, Card, NotAnswered
from churnops.app.predict.figures import summary, waterfall
from churnops.app.predict.form import HIGH, LOW, TYPICAL, customer, encoded, fields, levers, presets
from churnops.app.predict.risk import Reason, feature_values, level, on_scale, reason, reasons, rest
from churnops.app.predict.what_if import proposal
from churnops.decision.what_if import smallest_change
from churnops.features.build import Feature
from churnops.features.shown import shown_value
from churnops.model import Bundle
from churnops.model.linear import LinearModel
from churnops.model.trees import TreeEnsemble
from churnops.pipelines.run_all import RunSummary
from churnops.registry.reference import reference_path
from churnops.settings import Settings
from churnops.words import title

HOSTILE = "<img src=x onerror=evil()>\x00\u202e\n**evil**"


@pytest.fixture(scope="module")
def bundle(project: tuple[Settings, RunSummary]) -> Bundle:
    return Bundle.load((project[0].root / "models/production").resolve())


@pytest.fixture(scope="module", params=["log-odds", "probability"])
def either(request: pytest.FixtureRequest, bundle: Bundle) -> Bundle:
    """A model of the same customers that is explained on this scale: linear, or one split for each feature."""
    matrix = bundle.matrix(bundle.imputer(bundle.probes))
    mean, width = matrix.mean(axis=0), matrix.shape[1]
    if request.param == "log-odds":
        slopes = np.where(np.arange(width) % 2, 0.2, -0.2) / np.maximum(matrix.std(axis=0), 0.1)
        return replace(bundle, algorithm="logistic_regression", estimator=LinearModel(slopes, -(mean @ slopes), mean))
    roots = np.arange(width) * 3
    splits = TreeEnsemble(
        roots=roots,
        feature=np.ravel([(at, -1, -1) for at in range(width)]).astype(np.int32),
        threshold=np.repeat(mean, 3).astype(np.float32),
        left=np.ravel([(root + 1, 0, 0) for root in roots]).astype(np.int32),
        right=np.ravel([(root + 2, 0, 0) for root in roots]).astype(np.int32),
        missing_left=np.ones(width * 3, bool),
        value=np.tile([0.0, 0.1 / width, 0.9 / width], width),
        cover=np.tile([100.0, 60.0, 40.0], width),
        base=0.0,
        link="identity",
    )
    return replace(bundle, algorithm="random_forest", estimator=splits)


@pytest.fixture(scope="module")
def starts(project: tuple[Settings, RunSummary], bundle: Bundle) -> Mapping[str, Mapping[str, Any]]:
    return presets(bundle, project[0].root / "models")


# The form


def test_the_form_has_all_inputs_with_the_models_required_ones_first(bundle: Bundle):
    shown = fields(bundle.schema, bundle.reference)
    assert {field.name for field in shown} == {
        column.name for column in bundle.schema.columns if column.kind not in ("time", "target")
    }
    needed = [field.needed for field in shown]
    assert needed == sorted(needed, reverse=True)
    by_name = {field.name: field for field in shown}
    assert by_name["international_plan"].choices == bundle.schema.by_name["international_plan"].choices
    assert by_name["total_day_minutes"].label == "Total day minutes"
    assert "Nine in ten customers: " in by_name["total_day_minutes"].help
    assert by_name["customer_service_calls"].kind == "integer"
    assert by_name["customer_service_calls"].minimum == bundle.schema.by_name["customer_service_calls"].minimum


def test_descriptions_with_markup_or_controls_stay_one_help_line(bundle: Bundle):
    columns = [column.model_copy(update={"description": HOSTILE}) for column in bundle.schema.columns]
    for field in fields(bundle.schema.model_copy(update={"columns": tuple(columns)})):
        assert field.help.startswith("<img src=x onerror=evil()> **evil**")
        assert field.help.isprintable()


def test_labels_and_units_are_shown_in_place_of_names(bundle: Bundle):
    words = {"total_day_minutes": {"label": "Talk by day", "unit": "min"}, "international_plan": {"label": HOSTILE}}
    columns = [column.model_copy(update=words.get(column.name, {})) for column in bundle.schema.columns]
    schema = bundle.schema.model_copy(update={"columns": tuple(columns)})
    schema = type(schema).model_validate(schema.model_dump())  # without what the old one had worked out
    labels = {field.name: field.label for field in fields(schema)}
    assert labels["total_day_minutes"] == "Talk by day (min)"
    assert labels["total_day_calls"] == "Total day calls"
    known = {feature.name: feature for feature in bundle.features}
    charge = replace(known["total_charge"], label="Bill", unit="USD")
    card = replace(Card.of(bundle), schema=schema, features=known | {"total_charge": charge})
    assert str(reason("total_day_minutes", 0.1, card, 265.1)) == "Talk by day (265.1 min) raises the risk"
    assert str(reason("total_charge", 0.1, card, 60.0)) == "Bill (60 USD) raises the risk"
    assert reason("international_plan", 0.1, card, 1.0).name == "<img src=x onerror=evil()> **evil**"


def test_a_filled_form_is_a_customer_without_empty_optional_fields(
    bundle: Bundle, starts: Mapping[str, Mapping[str, Any]]
):
    shown = fields(bundle.schema)
    given = customer(shown, {field.name: starts[TYPICAL].get(field.name) for field in shown} | {"customer_id": "  "})
    assert "customer_id" not in given
    assert given == {name: value for name, value in starts[TYPICAL].items() if name in given}
    assert all(type(given[field.name]) is int for field in shown if field.kind == "integer")


def test_an_empty_form_names_what_is_missing_by_its_labels(bundle: Bundle):
    with pytest.raises(NotAnswered, match=r"^Fill in .*Total day minutes.*: the model needs them\.$") as error:
        customer(fields(bundle.schema), {})
    needed = {column.name for column in bundle.schema.model_inputs if not column.nullable}
    assert {rule.column for rule in error.value.broken} == needed


def test_presets_are_customers_of_highest_median_and_lowest_score(
    project: tuple[Settings, RunSummary], bundle: Bundle, starts: Mapping[str, Mapping[str, Any]]
):
    kept = pl.read_parquet(reference_path(project[0].root / "models", bundle.content_sha256))
    score = bundle.predict({name: kept[name].to_numpy().astype(float) for name in bundle.probes}).probability
    found = {name: BundleAnswers(bundle).one(given).probability for name, given in starts.items()}
    assert found[HIGH] == score.max() > found[TYPICAL] > found[LOW] == score.min()
    assert all(bundle.schema.target.name not in given for given in starts.values())
    assert all(given.get("customer_id") is None for given in starts.values())


def test_without_a_sound_sample_the_models_probes_are_the_presets(bundle: Bundle, tmp_path: Path):
    without = presets(bundle, tmp_path)
    path = reference_path(tmp_path, bundle.content_sha256)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"PAR1")
    assert presets(bundle, tmp_path) == without
    assert BundleAnswers(bundle).one(without[HIGH]).probability == bundle.predict(bundle.probes).probability.max()


# The answer and its reasons


def test_base_value_the_six_reasons_and_the_rest_add_up_to_the_score(
    either: Bundle, starts: Mapping[str, Mapping[str, Any]]
):
    model = either
    for given in starts.values():
        answer = BundleAnswers(model).one(given)
        explained = model.explain(encoded(given, model.schema))
        assert answer.probability == explained.prediction.probability[0]
        assert answer.prediction_id is None
        by_name = dict(zip(model.selected, explained.contributions[0].tolist(), strict=True))
        assert len(answer.contributions) == 6
        assert all(by_name.pop(name) == share for name, share in answer.contributions)
        others = rest(answer)
        assert others == pytest.approx(sum(by_name.values()), abs=1e-9)
        shares = [share for _, share in answer.contributions]
        assert shares == sorted(shares, key=abs, reverse=True)
        total = answer.base_value + sum(shares) + others
        assert total == pytest.approx(on_scale(answer.probability, model.explanation_scale), abs=1e-9)


def test_a_probability_that_was_rounded_to_certainty_has_no_rest(bundle: Bundle):
    answer = Answer(1.0, True, 0.0, "log-odds", (("a", 1.0),), "v", None)
    assert rest(answer) is None
    assert rest(replace(answer, scale="probability")) == 0.0
    figure = waterfall([Reason("A", "", 1.0, "")], base=0.0, rest=None, scale="log-odds", others=3)
    assert list(figure.data[0].measure) == ["absolute", "relative"]


@pytest.mark.parametrize(
    ("probability", "word"), [(0.3, "High risk"), (0.2999, "Medium risk"), (0.15, "Medium risk"), (0.1499, "Low risk")]
)
def test_the_level_follows_from_the_threshold(probability: float, word: str):
    found = level(probability, 0.3)
    assert found.word == word
    assert "threshold of 30 %" in found.sentence


@pytest.mark.parametrize(("share", "effect"), [(0.1, "raises the risk"), (-0.1, "lowers the risk"), (0.0, "no effect")])
def test_the_sign_of_a_contribution_is_given_in_words(bundle: Bundle, share: float, effect: str):
    found = reason("total_day_minutes", share, Card.of(bundle), 265.1)
    assert found.effect == effect
    assert str(found) == f"Total day minutes (265.1) {effect}"


def test_values_are_shown_as_choices_answers_or_numbers(bundle: Bundle):
    plan, schema = Feature("international_plan", "international_plan", ""), bundle.schema
    calls = Feature("many", "customer_service_calls > 3", "")
    assert [shown_value(value, plan, schema) for value in (0.0, 1.0)] == ["No", "Yes"]
    assert [shown_value(value, calls, schema) for value in (0.0, 1.0)] == ["no", "yes"]
    assert shown_value(1234.5, Feature("x", "a + b", ""), schema) == "1,234.5"
    assert shown_value(0.5, plan, schema) == "0.5"  # nobody's choice: an imputed mean, say
    for unknown in (None, float("nan")):
        assert shown_value(unknown, plan, schema) == ""
    assert shown_value(1.0, Feature("x", "(" * 5000, ""), schema) == "1"


def test_without_the_model_only_columns_have_known_values(bundle: Bundle, starts: Mapping[str, Mapping[str, Any]]):
    card, columns = Card.of(bundle), encoded(starts[HIGH], bundle.schema)
    everything, some = feature_values(card, bundle, columns), feature_values(card, None, columns)
    assert set(everything) == set(bundle.selected)
    assert set(some) == set(bundle.selected) & set(columns)
    assert all(everything[name] == some[name] for name in some)


def test_the_waterfall_runs_from_average_to_score_and_has_its_scale(
    either: Bundle, starts: Mapping[str, Mapping[str, Any]]
):
    model = either
    answer, card = BundleAnswers(model).one(starts[HIGH]), Card.of(model)
    columns = encoded(starts[HIGH], model.schema)
    values = {name: given[0] for name, given in feature_values(card, model, columns).items()}
    why = reasons(answer, card, values)
    others = len(card.features) - 6
    figure = waterfall(why, base=answer.base_value, rest=rest(answer), scale=answer.scale, others=others)
    bars = figure.data[0]
    assert list(bars.measure) == ["absolute", *["relative"] * 7, "total"]
    assert bars.x[0] == answer.base_value
    assert bars.x[-1] == pytest.approx(on_scale(answer.probability, answer.scale), abs=1e-9)
    assert list(bars.x[1:7]) == [share for _, share in answer.contributions]
    assert bars.customdata[7].startswith(f"{others} other features")
    title = {"probability": "Probability of leaving", "log-odds": "Log-odds of leaving"}[answer.scale]
    assert figure.layout.xaxis.title.text.startswith(title)
    low, high = figure.layout.xaxis.range
    reached = np.cumsum(bars.x[:-1])
    assert low <= reached.min()
    assert high >= reached.max()
    for label, share in zip(bars.customdata[1:7], bars.x[1:7], strict=True):
        assert ("raises" if share > 0 else "lowers") in label


def test_the_figures_sentence_names_raising_and_lowering_inputs():
    why = [Reason("Charge", "", 0.2, ""), Reason("Plan", "", -0.1, ""), Reason("Calls", "", 0.05, "")]
    assert summary(why, base=0.15, probability=0.3, scale="probability") == (
        "From the average customer (15 %) to this one (30 %), raised most by Charge and Calls, lowered most by Plan."
    )
    assert "(log-odds -1.70)" in summary(why, base=-1.7, probability=0.3, scale="log-odds")
    assert summary([], base=0.15, probability=0.3, scale="probability").endswith("to this one (30 %).")


def test_names_and_descriptions_from_outside_are_text_in_the_figure(bundle: Bundle):
    card = replace(Card.of(bundle), features={HOSTILE: Feature(HOSTILE, "1 > 0", HOSTILE)})
    found = reason(HOSTILE, 0.5, card, 1.0)
    assert f"{found.name}{found.value}{found.description}".isprintable()
    figure = waterfall([found], base=0.1, rest=0.0, scale="probability", others=0)
    assert "<img" not in json.dumps(figure.to_dict()["data"][0]["customdata"])


# What if


def test_a_file_repeating_a_long_text_is_refused_before_any_answer(bundle: Bundle, monkeypatch):
    content = BytesIO()
    pl.DataFrame({"note": ["x" * 1000] * 5000}).write_parquet(content)
    monkeypatch.setattr(upload, "PAGES_BYTES", 1 << 20)
    with pytest.raises(NotAnswered, match="more than 1 MiB when it is decompressed"):
        upload.score_file("a.parquet", content.getvalue(), None, Card.of(bundle), bundle)  # type: ignore[arg-type]


def test_levers_are_inputs_that_move_the_score_most_within_range(
    either: Bundle, starts: Mapping[str, Mapping[str, Any]]
):
    model = either
    columns = encoded(starts[HIGH], model.schema)
    inputs = {column.name: float(columns[column.name][0]) for column in model.schema.model_inputs}
    offered = levers(model, inputs)
    assert 1 <= len(offered) <= 8
    assert [lever.moves for lever in offered] == sorted((lever.moves for lever in offered), reverse=True)
    for lever in offered:
        assert lever.minimum <= lever.value <= lever.maximum
        assert bool(lever.levels) != model.schema.by_name[lever.name].numeric
        assert lever.levels or 0 < lever.step <= lever.maximum - lever.minimum
        assert lever.value == inputs[lever.name]
    first = offered[0]
    ends = [
        model.answer(inputs | {first.name: end}).probability for end in np.linspace(first.minimum, first.maximum, 9)
    ]
    if not first.whole and not first.levels:
        assert max(ends) - min(ends) == pytest.approx(first.moves)


def test_actionable_levers_come_first_and_may_be_flags(bundle: Bundle, starts: Mapping[str, Mapping[str, Any]]):
    columns = encoded(starts[LOW], bundle.schema)
    inputs = {name: float(values[0]) for name, values in columns.items()}
    lever = levers(bundle, inputs, ("international_plan",))[0]
    assert (lever.name, lever.levels, lever.text(1.0)) == ("international_plan", {0.0: "No", 1.0: "Yes"}, "Yes")


def test_a_proposal_names_the_change_or_why_there_is_none(bundle: Bundle, starts: Mapping[str, Mapping[str, Any]]):
    columns = encoded(starts[HIGH], bundle.schema)
    inputs = {column.name: float(columns[column.name][0]) for column in bundle.schema.model_inputs}
    names = ("international_plan", "total_day_minutes", "customer_service_calls")
    enough = smallest_change(bundle, inputs, names, 0.5)
    assert enough.below
    text = proposal(bundle, inputs, names, 0.5)
    assert text.startswith("The smallest change that brings the probability below the threshold of 50 %, to ")
    for change in enough.changes:
        column = bundle.schema.by_name[change.name]
        assert (
            f"{title(column)}: {column.levels[int(change.before)] if column.choices else column.text(change.before)}"
            in text
        )
    lowest = proposal(bundle, inputs, names[:1], 0.0001)
    assert "No change that was tried" in lowest
    assert lowest.endswith("Tried: International plan.")
    assert "already" in proposal(bundle, inputs, names, 1.0)
    assert "declares no column" in proposal(bundle, inputs, (), 0.5)
    assert "not known for this customer" in proposal(bundle, dict.fromkeys(inputs, float("nan")), names, 0.5)


def test_a_value_that_is_not_known_is_not_varied(bundle: Bundle):
    assert levers(bundle, {column.name: float("nan") for column in bundle.schema.model_inputs}) == ()
