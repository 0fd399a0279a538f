"""Simulated customers are what was asked, and always customers that the Schema allows."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from churnops.data.read import decode
from churnops.data.simulate import Drift, simulate
from churnops.data.validate import check_customers
from churnops.schema import Column, Schema

SCHEMA = Schema(
    columns=(
        Column(name="total_day_minutes", kind="number", minimum=0, maximum=500),
        Column(name="charge", kind="number", required=False, nullable=True, minimum=0, maximum=85),
        Column(name="customer_service_calls", kind="integer", nullable=True, minimum=0, maximum=20),
        Column(name="balance", kind="number", nullable=True),
        Column(name="messages", kind="integer", minimum=0),
        Column(name="plan", kind="flag", choices=("No", "Yes")),
        Column(name="state", kind="category", nullable=True, choices=("KS", "OH", "NJ")),
        Column(name="churn", kind="target", choices=("False", "True")),
    )
)
NAMES = ("total_day_minutes", "customer_service_calls", "balance", "messages")
SHIFTS = st.tuples(st.floats(-5, 5).filter(bool), st.lists(st.sampled_from(NAMES), unique=True, max_size=3).map(tuple))
DRIFTS = st.builds(
    lambda shift, **others: Drift(*shift, **others),
    shift=st.one_of(st.just((0.0, ())), SHIFTS),
    prior=st.one_of(st.none(), st.floats(0, 1)),
    concept=st.floats(0, 1),
    recipe=st.booleans(),
)
SEEDS = st.integers(0, 2**32)


def table(seed: int, rows: int = 80) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Customers of every kind: a charge and a plan that follow from other columns, gaps, outcomes not known."""
    generator = np.random.default_rng(seed)
    minutes = np.round(generator.uniform(0, 500, rows), 1)
    messages = np.where(generator.permutation(rows) < 0.6 * rows, 0, generator.integers(1, 50, rows)).astype(float)
    columns = {
        "total_day_minutes": minutes,
        "charge": np.round(minutes * 0.17, 2),
        "customer_service_calls": generator.poisson(1.5, rows).clip(0, 20).astype(float),
        "balance": generator.normal(0, 1e6, rows),
        "messages": messages,
        "plan": (messages > 0).astype(float),
        "state": generator.integers(0, 3, rows).astype(float),
    }
    for name in ("charge", "customer_service_calls", "balance", "state"):
        columns[name][generator.random(rows) < 0.05] = np.nan
    outcome = (generator.random(rows) < 0.3).astype(float)
    outcome[:2] = 0, 1  # both outcomes are there
    outcome[generator.random(rows) < 0.1] = np.nan
    outcome[:2] = 0, 1
    return columns, outcome


@given(DRIFTS, SEEDS, st.integers(1, 200))
@settings(deadline=None)
def test_every_simulated_table_is_one_that_can_be_scored_and_is_made_again_by_its_seed(drift, seed, rows):
    columns, outcome = table(seed)
    made, again = (simulate(columns, outcome, SCHEMA, drift, rows=rows, seed=seed) for _ in range(2))
    assert made.description == again.description
    for name, values in made.columns.items():
        assert values.tobytes() == again.columns[name].tobytes()
    assert made.outcome.tobytes() == again.outcome.tobytes()
    checked = check_customers(decode(made.columns, made.outcome, SCHEMA), SCHEMA, "simulated", keep_outcome=True)
    assert checked.height == rows


@given(SEEDS, st.integers(1, 80))
def test_without_drift_each_customer_is_one_of_the_table_and_stands_once(seed, rows):
    columns, outcome = table(seed)
    made = simulate(columns, outcome, SCHEMA, Drift(), rows=rows, seed=seed)
    there = {row.tobytes() for row in np.column_stack([*columns.values(), outcome])}
    drawn = [row.tobytes() for row in np.column_stack([*made.columns.values(), made.outcome])]
    assert set(drawn) <= there
    assert len(set(drawn)) == rows


@given(DRIFTS.filter(lambda drift: drift.prior is None), SEEDS)
def test_missing_values_stay_missing_and_nothing_else_becomes_one(drift, seed):
    columns, outcome = table(seed)
    made = simulate(columns, outcome, SCHEMA, drift, rows=80, seed=seed)
    plain = simulate(columns, outcome, SCHEMA, Drift(), rows=80, seed=seed)
    for name, values in plain.columns.items():
        assert np.array_equal(np.isnan(values), np.isnan(made.columns[name]))
    assert np.array_equal(np.isnan(plain.outcome), np.isnan(made.outcome))


@given(st.floats(0, 1), SEEDS)
def test_concept_drift_keeps_the_churn_rate_and_every_column(share, seed):
    columns, outcome = table(seed)
    made = simulate(columns, outcome, SCHEMA, Drift(concept=share), rows=60, seed=seed)
    plain = simulate(columns, outcome, SCHEMA, Drift(), rows=60, seed=seed)
    assert np.array_equal(np.sort(made.outcome), np.sort(plain.outcome), equal_nan=True)
    for name, values in plain.columns.items():
        assert np.array_equal(values, made.columns[name], equal_nan=True)
    changed = (made.outcome != plain.outcome) & ~np.isnan(plain.outcome)
    assert changed.sum() <= round(share * 60)


@given(st.floats(0, 1), SEEDS, st.integers(1, 300))
def test_prior_drift_gives_the_churn_rate_wanted(rate, seed, rows):
    columns, outcome = table(seed)
    made = simulate(columns, outcome, SCHEMA, Drift(prior=rate), rows=rows, seed=seed)
    assert made.outcome.sum() == round(rate * rows)


@given(st.floats(-3, 3).filter(bool), SEEDS)
def test_determined_columns_obey_the_relation_after_a_shift(shift, seed):
    columns, outcome = table(seed)
    drift = Drift(covariate=shift, columns=("total_day_minutes", "messages"))
    made = simulate(columns, outcome, SCHEMA, drift, rows=80, seed=seed).columns
    known = ~np.isnan(made["charge"])
    assert np.abs(made["charge"] - 0.17 * made["total_day_minutes"])[known].max() <= 0.02  # cents, rounded twice
    assert (made["plan"][made["messages"] == 0] == 0).all()
    least = columns["messages"][columns["messages"] > 0].min()
    assert (made["plan"][made["messages"] >= least] == 1).all()


@given(st.floats(-1, 1), SEEDS)
def test_a_shift_has_the_size_asked_also_of_whole_numbers(shift, seed):
    generator = np.random.default_rng(seed)
    columns = {name: np.full(5000, np.nan) for name in SCHEMA.by_name if name not in ("churn", "charge")}
    columns["total_day_minutes"] = np.round(generator.normal(250, 20, 5000), 1)
    columns["balance"] = generator.normal(0, 3, 5000)
    columns["customer_service_calls"] = generator.integers(9, 12, 5000).astype(float)
    made = simulate(columns, np.zeros(5000), SCHEMA, Drift(covariate=shift), rows=5000, seed=seed)
    for name in ("total_day_minutes", "balance", "customer_service_calls"):
        deviation = columns[name].std()
        moved = (made.columns[name].mean() - columns[name].mean()) / deviation
        # Rounding at random has at most 1/2 step deviation a row; all 5000 rows are drawn, so nothing else varies.
        step = {"total_day_minutes": 0.1, "balance": 0.0, "customer_service_calls": 1.0}[name]
        assert abs(moved - shift) <= 6 * step / 2 / deviation / np.sqrt(5000) + 1e-9
