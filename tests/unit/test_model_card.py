"""The model card: a page that opens offline, escapes all text, and names a weak segment only if it is proven."""

import re
from dataclasses import replace

import numpy as np
import pytest

from churnops.data.preprocess import PreparedTable
from churnops.data.skipped import Skipped
from churnops.evaluation.fairness import group_results
from churnops.evaluation.held_out import CARD, evaluate_models
from churnops.evaluation.lift import lift_table
from churnops.evaluation.segments import MISSING, groups, worst_segments
from churnops.schema import Column, Columns, Schema
from churnops.settings import Settings
from churnops.training.train import TrainedModels

NUMBERS = [Column(name=f"number_{i}", kind="number", nullable=True) for i in range(6)]
CATEGORIES = [Column(name=f"choice_{i}", kind="category", choices=tuple("abcde"), nullable=True) for i in range(6)]
FLAGS = [Column(name=f"flag_{i}", kind="flag", choices=("No", "Yes")) for i in range(6)]
NOISE = [*NUMBERS, *CATEGORIES, *FLAGS]


@pytest.fixture(scope="module")
def card(prepared: PreparedTable, trained: TrainedModels, settings: Settings) -> str:
    lineage = {"created": "<b>today</b>", "monotone": {"spend": "increasing"}}
    refit = trained.refit.with_metadata(metrics={}, lineage=lineage)
    evaluated = evaluate_models(
        {name: model.bundle for name, model in trained.models.items()},
        trained.winner,
        refit,
        prepared,
        settings,
        skipped=Skipped({}, {"Note <i>": "not in the schema"}, {"raw/a.csv": "2 of 9 rows left out: too long"}),
        left_out={"state=WY": "constant in the training rows"},
    )
    return str(evaluated.artifacts[CARD])


def noise(rows: int, rng: np.random.Generator) -> Columns:
    return {
        column.name: rng.normal(size=rows)
        if column.numeric
        else rng.choice(
            len(column.choices), rows, p=[0.9, 0.1] if column.kind == "flag" else [0.6, 0.2, 0.1, 0.06, 0.04]
        )
        * 1.0
        for column in NOISE
    }


def text_of(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", page))


def test_the_card_opens_offline_and_is_small(card):
    assert len(card.encode()) < 300_000
    assert "<script" not in card
    assert not re.search(r'(src|href)="(?!#)', card)
    assert "default-src 'none'" in card


def test_the_card_has_every_section_and_escapes_texts(card, trained):
    sections = re.findall("<h2>(.*?)</h2>", card)
    assert sections == [
        "Data",
        "Compared families",
        "Quality on held-out customers",
        "Lift",
        "Drivers",
        "Worst segments",
        "Limits",
        "Origin",
    ]
    for text in (
        "Note &lt;i&gt;",
        "State: WY",
        "<li>raw/a.csv: 2 of 9 rows left out",
        "&lt;b&gt;today&lt;/b&gt;",
        "(this model)",
    ):
        assert text in card
    assert trained.refit.content_sha256 in card
    assert "<i>" not in card
    assert "Account length integer 1 to 243 0.0% input" in text_of(card)
    assert "Monotone spend increasing" in text_of(card)
    assert text_of(card).count("%") > 30


def test_noise_names_a_segment_in_at_most_5_percent_of_cards():
    rng, named, cards = np.random.default_rng(7), 0, 200
    for _ in range(cards):
        probability = 1 / (1 + np.exp(2 - 2 * rng.normal(size=600)))
        outcome = rng.random(600) < probability
        named += bool(worst_segments(noise(600, rng), NOISE, outcome, probability))
    assert named <= 0.05 * cards


def test_a_planted_weak_segment_is_named_first():
    rng = np.random.default_rng(8)
    columns = noise(2000, rng)
    weak = columns["choice_2"] == 1
    probability = np.where(rng.random(2000) < 0.2, 0.9, 0.05)
    outcome = rng.random(2000) < np.where(weak, 0.5, probability)
    first, *others = worst_segments(columns, NOISE, outcome, probability)
    assert (first.column, first.values, first.rows) == ("choice_2", "b", int(weak.sum()))
    assert first.log_loss > first.others
    assert first.churned == int(outcome[weak].sum())
    assert all(segment.p_value <= 0.05 for segment in (first, *others))


def test_a_gap_and_a_quarter_of_a_number_are_segments():
    rng = np.random.default_rng(9)
    columns = dict(noise(2000, rng))
    columns["number_1"] = np.where(rng.random(2000) < 0.1, np.nan, columns["number_1"])
    top = columns["number_0"] > np.quantile(columns["number_0"], 0.75)
    probability = np.full(2000, 0.1)
    for weak, name in ((np.isnan(columns["number_1"]), MISSING), (top, "above ")):
        outcome = rng.random(2000) < np.where(weak, 0.5, 0.1)
        assert worst_segments(columns, NOISE, outcome, probability)[0].values.startswith(name)


def test_segments_compare_the_losses_as_a_t_test_does():
    from scipy.stats import ttest_ind

    rng = np.random.default_rng(3)
    columns, probability = noise(800, rng), rng.uniform(0.05, 0.6, 800)
    outcome = rng.random(800) < probability
    loss = -np.log(np.where(outcome, probability, 1 - probability))
    rows = columns["flag_1"] == 1
    expected = ttest_ind(loss[rows], loss[~rows], equal_var=False, alternative="greater")
    (segment,) = worst_segments({"flag_1": columns["flag_1"]}, NOISE, outcome, probability, level=1.0)
    assert segment.p_value == pytest.approx(expected.pvalue)
    assert (segment.rows, segment.log_loss) == (rows.sum(), pytest.approx(loss[rows].mean()))
    assert segment.others == pytest.approx(loss[~rows].mean())
    assert segment.expected == pytest.approx(probability[rows].sum())


def test_groups_of_a_personal_number_do_not_name_its_ends():
    age = Column(name="age", kind="integer", required=False, personal=True)
    assert groups(np.arange(1.0, 101.0), age)[0][:-1] == [
        "up to 25.75",
        "above 25.75, up to 50.5",
        "above 50.5, up to 75.25",
        "above 75.25",
    ]
    assert groups(np.array([*[3.0] * 90, 4.0, 5.0, 6.0, 7.0, 8.0]), age)[0][:-1] == ["any"]


def test_levels_outside_the_choices_are_no_missing_values():
    plan = Column(name="plan", kind="category", choices=("a", "b"), nullable=True)
    names, place = groups(np.array([0.0, 1.0, plan.other, np.nan]), plan)
    assert [names[i] for i in place] == ["a", "b", "(other)", MISSING]


def test_small_or_constant_columns_have_no_segments():
    outcome, probability = np.arange(120) % 2 == 0, np.full(120, 0.5)
    columns = {"number_0": np.full(120, np.nan), "number_1": np.ones(120), "flag_0": (np.arange(120) < 30) * 1.0}
    assert worst_segments(columns, NOISE, outcome, probability) == []
    assert worst_segments({}, [], outcome, probability) == []


def test_a_perfect_model_has_no_worst_segment():
    outcome = np.arange(400) % 2 == 0
    columns, plan = {"plan": np.arange(400) // 200 * 1.0}, Column(name="plan", kind="flag", choices=("no", "yes"))
    assert all(segment.p_value == 1.0 for segment in worst_segments(columns, [plan], outcome, outcome * 1.0))


def test_lift_of_tied_scores_is_the_mean_over_their_orders():
    outcome, probability = np.arange(1000) % 4 == 0, np.full(1000, 0.3)
    assert [(row.precision, row.lift) for row in lift_table(outcome, probability)] == [(0.25, 1.0)] * 5
    best = lift_table(outcome, outcome * 0.5)
    assert [row.recall for row in best] == pytest.approx([0.2, 0.4, 0.8, 1.0, 1.0])
    assert np.isnan(lift_table(np.zeros(10), probability[:10])[0].lift)


def test_the_groups_of_a_sensitive_column_are_compared(prepared, trained, settings):
    columns = [
        c.model_copy(update={"sensitive": True}) if c.name in ("state", "total_day_charge") else c
        for c in settings.table.columns
    ]
    refit = replace(trained.refit, schema=Schema(columns=tuple(columns)))
    bundles = {trained.winner: trained.models[trained.winner].bundle}
    unused = {"skipped": Skipped(), "left_out": {}}
    page = str(evaluate_models(bundles, trained.winner, refit, prepared, settings, **unused).artifacts[CARD])
    fairness = text_of(page.partition("<h2>Fairness</h2>")[2].partition("<h2>Limits")[0])
    assert fairness.count("above ") == 3
    assert "Total day charge" in fairness
    assert re.search(r" 16\d .*?% .*?% .*?% \d+\.\d% \(", fairness)
    assert "State No group has 50 held-out customers." in fairness
    assert "sensitive: no input" in text_of(page)


def test_group_results_are_those_of_the_counts():
    column = Column(name="gender", kind="category", choices=("f", "m", "x"), required=False, sensitive=True)
    codes = np.repeat([0.0, 1.0, 2.0], [100, 60, 40])
    outcome, probability = np.arange(200) % 5 == 0, np.where(np.arange(200) % 10 == 0, 0.8, 0.1)
    women, men = group_results(codes, column, outcome, probability, 0.5)
    assert (women.rows, women.churned, women.flagged, women.hits.value, women.false_alarms.value) == (
        100,
        0.2,
        0.1,
        0.5,
        0,
    )
    assert women.expected == pytest.approx(0.17)
    assert women.hits.low < 0.5 < women.hits.high
    assert (men.values, men.rows) == ("m", 60)
    nobody = group_results(codes, column, np.zeros(200, np.bool_), probability, 0.5)[0]
    assert np.isnan(nobody.hits.value)


def test_a_sensitive_column_is_never_an_input():
    with pytest.raises(ValueError, match="it is no input of a model: write `required: false`"):
        Column(name="age", kind="integer", sensitive=True)
    with pytest.raises(ValueError, match="sensitive"):
        Column(name="id", kind="id", required=False, sensitive=True)
    age = Column(name="age", kind="integer", required=False, sensitive=True)
    assert age.model_dump(exclude_defaults=True)["sensitive"] is True
    assert "sensitive" not in Column(name="age", kind="integer").model_dump()


def test_the_champion_of_a_retraining_has_no_cross_validation(prepared, trained, settings):
    champion = replace(trained.models["decision_tree"].bundle, lineage={"data_sha256": "1" * 64})
    bundles = {"random_forest": trained.models["random_forest"].bundle, "in production": champion}
    unused = {"skipped": Skipped(), "left_out": {}}
    page = str(evaluate_models(bundles, "random_forest", trained.refit, prepared, settings, **unused).artifacts[CARD])
    row = re.search(r'<th scope="row">in production</th>(.*)</tr>', page)
    assert row
    assert row[1].startswith("<td></td><td></td><td>0.")
