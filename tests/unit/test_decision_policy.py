"""The decision policy: checks, flags and expected profit."""

from typing import Any

import pytest

from churnops.decision.policy import DecisionPolicy
from churnops.errors import PolicyError
from churnops.schema import Column, Schema


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"threshold": 0}, "threshold: must be greater than 0"),
        ({"threshold": "0.2"}, "threshold: must be a number .given: '0.2'"),
        ({"threshold": float("nan")}, "threshold"),
        ({"cost": True}, "cost"),
        ({"cost": float("inf")}, "cost: must be a finite number"),
        ({"value": -1}, "value"),
        ({"value": "a\nb"}, "value"),
        ({"success_rate": 1.5}, "success_rate: must be less than or equal to 1"),
        ({"contacts": 1.5}, "contacts"),
        ({"budget": 100, "contacts": 5, "cost": 1}, "not both"),
        ({"budget": 100}, "a budget needs the cost"),
        ({"budget": 100, "cost": 0}, "a budget needs the cost"),
        ({"treshold": 0.2}, "treshold: there is no such field; did you mean .threshold."),
    ],
)
def test_a_wrong_policy_is_refused_in_one_line(document: dict[str, Any], message: str):
    with pytest.raises(PolicyError, match=message) as caught:
        DecisionPolicy.read(document)
    assert "\n" not in str(caught.value)


def test_without_a_threshold_the_models_own_counts():
    policy = DecisionPolicy(contacts=5)
    assert policy.flags([0.4, 0.5], 0.5).tolist() == [False, True]
    assert (policy.rule, policy.limit, policy.is_set) == ("contacts", 5, False)


def test_a_budget_pays_for_whole_contacts():
    assert DecisionPolicy(budget=0.3, cost=0.1).limit == 3
    assert DecisionPolicy(budget=99, cost=10).limit == 9


def test_expected_profit_uses_the_column_or_names_what_is_missing():
    policy = DecisionPolicy(cost=2, value="bill", success_rate=0.5)
    assert policy.expected_profit([0.5, 0.5], [40.0, float("nan")]).tolist()[0] == 8.0
    with pytest.raises(PolicyError, match="needs the column bill"):
        policy.expected_profit([0.5])
    with pytest.raises(PolicyError, match="needs cost and value"):
        DecisionPolicy(success_rate=0.5).expected_profit([0.5])


def test_the_value_column_must_be_a_number_column():
    schema = Schema(
        columns=(
            Column(name="bill", alias="Monthly bill", kind="number", required=True),
            Column(name="income", kind="number", personal=True),
            Column(name="plan", kind="category", choices=("a", "b"), required=True),
            Column(name="churn", kind="target", choices=("no", "yes")),
        )
    )
    assert DecisionPolicy(value="Monthly bill").in_table(schema) == DecisionPolicy(value="bill")
    assert DecisionPolicy(value="bill").value_problem(schema) == ""
    with pytest.raises(PolicyError, match="'income' is personal"):
        DecisionPolicy(value="income").in_table(schema)
    problem = DecisionPolicy(value="plan", version=3).value_problem(schema)
    assert "decision policy 3: value: 'plan' is not a number column of the customer table; allowed: bill" in problem
