"""Simulated customers have the requested changes and always fit the Schema."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from churnops.data.groups import column_groups
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
def test_every_simulated_table_can_be_scored_and_repeats_by_seed(drift, seed, rows):
    columns, outcome = table(seed)
    made, again = (simulate(columns, outcome, SCHEMA, drift, rows=rows, seed=seed) for _ in range(2))
    assert made.description == again.description
    for name, values in made.columns.items():
        assert values.tobytes() == again.columns[name].tobytes()
    assert made.outcome.tobytes() == again.outcome.tobytes()
    checked = check_customers(decode(made.columns, made.outcome, SCHEMA), SCHEMA, "simulated", keep_outcome=True)
    assert checked.height == rows


@given(SEEDS, st.integers(1, 80))
def test_without_drift_each_customer_of_the_table_appears_once(seed, rows):
    columns, outcome = table(seed)
    made = simulate(columns, outcome, SCHEMA, Drift(), rows=rows, seed=seed)
    there = {row.tobytes() for row in np.column_stack([*columns.values(), outcome])}
    drawn = [row.tobytes() for row in np.column_stack([*made.columns.values(), made.outcome])]
    assert set(drawn) <= there
    assert len(set(drawn)) == rows


@given(DRIFTS.filter(lambda drift: drift.prior is None), SEEDS)
@settings(deadline=None)
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
@settings(deadline=None)
def test_determined_columns_obey_the_relation_after_a_shift(shift, seed):
    columns, outcome = table(seed, 400)
    drift = Drift(covariate=shift, columns=("total_day_minutes", "messages"))
    made = simulate(columns, outcome, SCHEMA, drift, rows=80, seed=seed).columns
    known = ~np.isnan(made["charge"])
    assert np.abs(made["charge"] - 0.17 * made["total_day_minutes"])[known].max() <= 0.006
    assert np.array_equal(made["plan"] == 0, made["messages"] == 0)


def structured(seed: int, rows: int) -> dict[str, np.ndarray]:
    """Columns that constrain each other in every way that is known of, and one that does not."""
    generator = np.random.default_rng(seed)
    plan = (generator.random(rows) < generator.uniform(0.05, 0.9)) * 1.0
    low = np.round(generator.gamma(2.0, 20.0, rows), 1)
    parts = [generator.integers(0, 100, rows) * 1.0 for _ in range(3)]
    price, amount = np.round(generator.uniform(1, 9, rows), 2), generator.integers(1, 20, rows) * 1.0
    gaps = generator.normal(5.0, 2.0, (2, rows))
    gaps[:, generator.random(rows) < 0.2] = np.nan
    region = generator.integers(0, 20, rows)
    return {
        "plan": plan,
        "messages": plan * generator.integers(1, 50, rows),
        "low": low,
        "high": np.round(low + generator.gamma(1.0, 20.0, rows), 1),
        "first": parts[0],
        "second": parts[1],
        "third": parts[2],
        "total": np.sum(parts, axis=0),
        "price": price,
        "amount": amount,
        "bill": price * amount,
        "gap": gaps[0],
        "other_gap": gaps[1],
        "region": region * 1.0,
        "country": region // 5 * 1.0,
        "alone": np.round(generator.normal(0, 1, rows), 2),
    }


def kind(name: str) -> Column:
    if name == "plan":
        return Column(name=name, kind="flag", choices=("n", "y"))
    if name in ("region", "country"):
        return Column(name=name, kind="category", choices=tuple(f"{name}{i}" for i in range(20)))
    whole = name in ("messages", "first", "second", "third", "total", "amount")
    return Column(name=name, kind="integer" if whole else "number", nullable="gap" in name)


STRUCTURED = Schema(
    columns=(*(kind(name) for name in structured(0, 2)), Column(name="left", kind="target", choices=("n", "y")))
)


@given(st.floats(-2, 2).filter(bool), st.booleans(), SEEDS, st.integers(400, 3000))
@settings(deadline=None, max_examples=50)
def test_simulated_customers_are_possible_whatever_links_the_columns(shift, recipe, seed, size):
    columns = structured(seed, size)
    outcome = (np.random.default_rng(seed).random(size) < 0.3) * 1.0
    drift = Drift(covariate=shift, recipe=recipe)
    c = simulate(columns, outcome, STRUCTURED, drift, rows=500, seed=seed).columns
    assert np.array_equal(c["messages"] == 0, c["plan"] == 0)
    assert (c["low"] <= c["high"]).all()
    assert np.array_equal(c["total"], c["first"] + c["second"] + c["third"])
    assert np.array_equal(c["bill"], c["price"] * c["amount"])
    assert np.array_equal(np.isnan(c["gap"]), np.isnan(c["other_gap"]))
    assert np.array_equal(c["country"], c["region"] // 5)
    for name, values in c.items():
        assert set(values[~np.isnan(values)].tolist()) <= set(columns[name].tolist())


@given(SEEDS)
@settings(deadline=None, max_examples=50)
def test_columns_that_have_nothing_to_do_with_each_other_stay_apart(seed):
    generator = np.random.default_rng(seed)
    columns = {f"n{i}": generator.normal(size=1000) for i in range(6)}
    columns |= {f"i{i}": generator.poisson(2.0, 1000) * 1.0 for i in range(3)}
    columns |= {f"c{i}": generator.integers(0, 50, 1000) * 1.0 for i in range(3)}
    numbers = [name for name in columns if name[0] != "c"]
    assert column_groups(columns, numbers) == [(name,) for name in columns]


@given(st.floats(-1, 1), SEEDS)
@settings(deadline=None)
def test_a_shift_has_the_size_asked_also_of_whole_numbers(shift, seed):
    generator = np.random.default_rng(seed)
    columns = {name: np.full(5000, np.nan) for name in SCHEMA.by_name if name not in ("churn", "charge")}
    columns["total_day_minutes"] = np.round(generator.normal(250, 20, 5000), 1)
    columns["balance"] = generator.normal(0, 3, 5000)
    columns["customer_service_calls"] = generator.integers(9, 12, 5000).astype(float)
    made = simulate(columns, np.zeros(5000), SCHEMA, Drift(covariate=shift), rows=5000, seed=seed)
    for name in ("total_day_minutes", "balance", "customer_service_calls"):
        moved = (made.columns[name].mean() - columns[name].mean()) / columns[name].std()
        assert abs(moved - shift) <= 0.03  # all 5000 rows are drawn, and each is moved within its quantile
