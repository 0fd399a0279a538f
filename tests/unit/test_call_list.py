"""Call lists: reasons in words, expected profit with its interval, and the sentences about a list."""

import csv
import io
from datetime import UTC, datetime

import numpy as np
import pytest

from churnops.data.forget import count_rows_of
from churnops.decision.list_profit import Reference, list_profit
from churnops.decision.list_request import ListRequest
from churnops.decision.list_text import as_csv, sentences, title
from churnops.decision.policy import DecisionPolicy
from churnops.decision.reasons import Wording
from churnops.errors import CallListError, PolicyError
from churnops.features.build import Feature
from churnops.schema import Column, Schema
from churnops.settings import FeatureSettings
from churnops.wire import CallListHead, CallListProfit, ListedCustomerAnswer

SCHEMA = Schema(
    columns=(
        Column(name="bill", kind="number", label="Monthly bill", unit="EUR"),
        Column(name="plan", alias="Tarif", kind="category", choices=("basic", "gold"), label="Tariff"),
        Column(name="voice", kind="flag", choices=("no", "yes"), label="Voice mail"),
        Column(name="churn", kind="target", choices=("No", "Yes")),
    )
)
TEXTS = {"bill": ("high bill", "offer the flat rate"), "voice": ("has voice mail", ""), "many": ("calls often", "call")}
FEATURES = [Feature(name, name, "") for name in ("bill", "voice")] + [
    Feature("plan=gold", 'plan == "gold"', ""),
    Feature("many", "bill > 3", "", label="Many calls"),
]


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("bill", 71.25, "high bill (71.2 EUR)"),
        ("bill", None, "high bill"),
        ("voice", 1.0, "has voice mail"),
        ("voice", 0.0, "Voice mail: no"),
        ("plan=gold", 1.0, "Tariff: gold"),
        ("plan=gold", 0.0, "Tariff: not gold"),
        ("many", 1.0, "calls often"),
        ("many", 0.0, "Many calls: no"),
        ("unknown", 1.0, "Unknown"),
    ],
)
def test_a_reason_has_words_value_and_unit(name: str, value: float | None, reason: str):
    wording = Wording(SCHEMA, {feature.name: feature for feature in FEATURES}, TEXTS)
    assert wording.reason(name, value) == reason


def test_the_action_is_that_of_the_strongest_reason_with_one():
    wording = Wording(SCHEMA, {feature.name: feature for feature in FEATURES}, TEXTS)
    assert wording.action(["voice", "many", "bill"]) == "call"
    assert wording.action(["voice"]) == wording.action([]) == ""


def test_the_settings_texts_count_before_those_of_the_model():
    def named(why: str) -> Schema:
        first, *others = SCHEMA.columns
        return Schema(columns=(first.model_copy(update={"why": why}), *others))

    wording = Wording.of(named("old"), FEATURES, named("new"), FeatureSettings())
    assert wording.reason("bill", 5.0) == "new (5 EUR)"


def test_texts_that_are_not_given_are_not_in_the_schemas_json():
    column = Column(name="bill", kind="number")
    assert {"why", "action"}.isdisjoint(column.model_dump())
    assert Column(name="bill", kind="number", why="x").model_dump()["why"] == "x"


def test_the_interval_contains_the_realised_profit():
    """Scores that are too extreme: reference customers with such scores tell how many of them leave."""
    random = np.random.default_rng(3)
    truth = random.beta(0.6, 2.4, 40_000)
    score = truth**1.5 / (truth**1.5 + (1 - truth) ** 1.5)
    left = random.random(truth.size) < truth
    inside = 0
    for trial in range(100):
        rows = random.choice(truth.size, 3_000, replace=False)
        known, others = rows[:1500], rows[1500:]
        top = others[np.argsort(-score[others])[: int(random.choice([10, 50, 200, 700]))]]
        reference = Reference(score[known], left[known].astype(float))
        worth = np.full(top.size, 40.0)
        profit = list_profit(score[top], worth, 10.0, reference, confidence=0.95, seed=trial)
        assert profit.basis == "calibration and chance"
        inside += profit.low <= 40.0 * left[top].sum() - 10.0 * top.size <= profit.high
    assert inside >= 93


@pytest.mark.parametrize("size", [300, 2_500])
def test_the_highest_scores_of_a_bin_have_a_higher_rate_than_the_bin(size: int):
    random = np.random.default_rng(4)
    score = np.linspace(1, 0, 20_000)
    reference = Reference(score, (random.random(score.size) < score).astype(float))
    top = np.linspace(score[7_650], score[15_329], 10_000)[:size]  # of the ninth bin
    profit = list_profit(top, np.full(size, 10.0), 1.0, reference, confidence=0.95, seed=1)
    assert profit.expected == pytest.approx(10 * top.sum() - size, rel=0.03)
    assert profit.low < 10 * top.sum() - size < profit.high


def test_without_reference_customers_the_interval_is_chance():
    few = Reference(np.full(50, 0.5), np.zeros(50))
    for reference in (None, few):
        profit = list_profit(np.full(100, 0.2), np.full(100, 5.0), 1.0, reference, confidence=0.95, seed=1)
        assert profit.basis == "chance"
        assert profit.expected == pytest.approx(0.0)
        assert -60 < profit.low < -30 < 30 < profit.high < 60


def test_a_request_replaces_the_limit_of_the_policy():
    policy = DecisionPolicy(contacts=5, cost=2.0, currency="EUR", version=3)
    assert ListRequest().policy(policy) == policy
    assert ListRequest(budget=10.0).policy(policy) == policy.model_copy(update={"contacts": None, "budget": 10.0})
    assert ListRequest(contacts=9).policy(policy).limit == 9
    with pytest.raises(PolicyError, match="cost of a contact"):
        ListRequest(budget=10.0).policy(DecisionPolicy())
    with pytest.raises(CallListError, match="call list: contacts: must be greater"):
        ListRequest.read({"contacts": 0})
    with pytest.raises(CallListError, match="no category or flag to filter by"):
        ListRequest(where={"bill": ("1",)}).in_table(SCHEMA)
    assert ListRequest(where={"Tarif": ("gold",)}).in_table(SCHEMA).where == {"plan": ("gold",)}


def head(**changes: object) -> CallListHead:
    policy = DecisionPolicy(contacts=120, cost=10.0, value=200.0, success_rate=0.25, currency="EUR")
    given = {
        "customers": 120,
        "scored": 1667,
        "source": "journal",
        "until": datetime(2026, 11, 30, 12, tzinfo=UTC),
        "rule": "contacts",
        "ended_by": "limit",
        "cut_off": 0.31,
        "profit": CallListProfit(expected=2350, low=1900, high=2790, confidence=0.95, basis="calibration and chance"),
        "left_out": {"contacted": 12},
        "policy": policy.to_json(),
    }
    return CallListHead.model_validate(given | changes)


def test_the_head_says_whom_to_call_and_what_the_numbers_mean():
    assert title(head()) == "Of 1,667 customers, call these 120. Expected profit: 2,350 EUR."
    text = " ".join(sentences(head(), {"days": 30, "where": {"plan": ["gold", "basic"]}}))
    for part in (
        "between 1,900 EUR and 2,790 EUR (95 % interval)",
        "keeps 25 % of the customers who would leave",
        "worth 200 EUR",
        "assumptions",
        "lowest probability on the list is 31.0 %",
        "It ends because it has as many customers as were asked for.",
        "Only customers whose plan is gold or basic.",
        "12 contacted in the last 30 days",
        "2026-11-30 12:00:00 UTC",
    ):
        assert part in text
    without = head(profit=None, policy=DecisionPolicy().to_json())
    assert "lacks cost, value and success rate" in sentences(without, {})[0]
    nobody = head(customers=0, cut_off=None, profit=None, ended_by="profit", left_out={})
    assert title(nobody) == "Of 1,667 customers, there is nobody to call."
    assert sentences(nobody, {})[0] == "The list is empty: no call pays."


def test_the_export_is_safe_in_spreadsheets():
    attack = "=cmd|'/C calc'!A0"
    row = ListedCustomerAnswer(
        place=1,
        customer_id=attack,
        churn_probability=0.99718,
        value=None,
        expected_profit=33.456,
        reasons=[attack, "+1"],
        action="@SUM(A1)",
        status="to do",
        note='-2+3\n"quoted"',
    )
    (given,) = csv.DictReader(io.StringIO(as_csv([row], SCHEMA).decode()))
    texts = [given[name] for name in ("Customer", "Reason 1", "Suggested action", "Note")]
    assert all(text.startswith("'") for text in texts)
    assert (given["Probability"], given["Expected profit"], given["Reason 3"]) == ("0.99718", "33.46", "")
    assert as_csv([], SCHEMA).decode().startswith("Rank,Customer,")


def test_forget_finds_a_customer_in_an_exported_list(tmp_path):
    identified = Schema(columns=(Column(name="number", alias="Contract", kind="id", required=False), *SCHEMA.columns))
    listed = {"value": None, "expected_profit": None, "reasons": [], "action": "", "status": "to do", "note": ""}
    rows = [
        ListedCustomerAnswer(place=place, customer_id=f"C{place}", churn_probability=0.5, **listed) for place in (1, 2)
    ]
    path = tmp_path / "list.csv"
    path.write_bytes(as_csv(rows, identified))
    assert path.read_text().startswith("Rank,Contract,")
    assert count_rows_of(path, identified, "C2") == 1
