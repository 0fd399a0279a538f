"""The demonstration's customers: all of them new, who leaves by which rule, and what a model may have seen of them."""

from collections.abc import Sequence

import numpy as np
import pytest

from churnops.api.customers import CustomerForm
from churnops.data.identity import identify
from churnops.data.read import encode, read_table
from churnops.data.validate import check_customers
from churnops.demo.world import HIGH_BILL, JITTER, RATES, Customer, World, bill
from churnops.schema import Columns
from churnops.settings import Settings
from tests.support.projects import LATER, RAW

SOURCES = (RAW[1], LATER)
MINUTES = tuple(f"total_{part}_minutes" for part in RATES)


def world(settings: Settings, drift: float = 1.0, seed: int = 3) -> World:
    return World(SOURCES, settings.table, drift=drift, seed=seed)


def columns_of(customers: Sequence[Customer], settings: Settings) -> Columns:
    """Return the row that the API makes of a valid customer."""
    form = CustomerForm(settings.table)
    return form.encode([form.read(dict(customer.document)) for customer in customers])


def kept_columns(customers: Sequence[Customer]) -> set[tuple[object, ...]]:
    """Columns that identify the source rows of customers, because they are not changed."""
    moved = {*MINUTES, *(f"total_{part}_charge" for part in RATES), "customer_id"}
    return {tuple(value for name, value in one.document.items() if name not in moved) for one in customers}


def test_nobody_who_arrives_is_a_training_row_or_arrived_before(settings: Settings):
    drawn = world(settings)
    arrived = [*drawn.arrivals(4000), *drawn.arrivals(1000, changed=True, part=1), *drawn.arrivals(1000, part=2)]
    columns, ids = columns_of(arrived, settings), [customer.id for customer in arrived]
    assert len(set(ids)) == len(ids)
    names = [column.name for column in settings.table.model_inputs]
    training = encode(check_customers(read_table(RAW[0]), settings.table, "training"), settings.table)
    known = identify(training, [None] * training[names[0]].size, names)
    assert not known.holds(columns, ids).any()
    everybody = identify(columns, [None] * len(ids), names)
    assert everybody.nameless.size == len(ids)


def test_simulated_customers_copy_no_training_row_and_no_source(settings: Settings):
    drawn = world(settings)
    names = [column.name for column in settings.table.model_inputs]
    sources = identify(drawn.columns, [None] * drawn.outcomes.old.size, names)
    assert sources.nameless.size == 2334
    arrived = drawn.arrivals(3000)
    assert not sources.holds(columns_of(arrived, settings), [customer.id for customer in arrived]).any()
    training = encode(check_customers(read_table(RAW[0]), settings.table, "training"), settings.table)
    assert not sources.holds(training, [None] * training[names[0]].size).any()


def test_the_parts_of_the_rows_have_no_row_in_common_and_are_alike(settings: Settings):
    drawn = world(settings)
    parts = [drawn.arrivals(count, changed=True, part=part) for part, count in enumerate((1167, 584, 583))]
    rows = [kept_columns(part) for part in parts]
    assert [len(found) for found in rows] == [1167, 584, 583]  # each row once in the first round
    assert not rows[0] & rows[1] | rows[0] & rows[2] | rows[1] & rows[2]
    rates = [np.mean([customer.churned for customer in part]) for part in parts]
    assert max(rates) - min(rates) < 0.005
    assert kept_columns(drawn.arrivals(583, part=9)) == rows[2]  # there are no more parts


def test_minutes_move_by_little_and_charges_follow(settings: Settings):
    drawn = world(settings)
    by_row, form = {}, CustomerForm(settings.table)
    for row in range(drawn.outcomes.old.size):
        document = form.example(drawn.columns, row)
        by_row[next(iter(kept_columns([Customer(document, False)])))] = document
    for customer in drawn.arrivals(1500):
        source = by_row[next(iter(kept_columns([customer])))]
        moved = [abs(customer.document[name] - source[name]) for name in MINUTES]
        assert max(moved) <= JITTER / 10 + 1e-9
        assert max(moved) > 0.0
        for part, rate in RATES.items():
            assert customer.document[f"total_{part}_charge"] == round(
                rate * customer.document[f"total_{part}_minutes"], 2
            )


def test_in_the_new_world_the_bill_rule_is_reversed_and_nothing_else(settings: Settings):
    drawn = world(settings)
    old, new = drawn.outcomes.old, drawn.outcomes.new
    without = drawn.columns["voice_mail_plan"] == 0.0
    bills = bill(drawn.columns)
    high = without & (bills > HIGH_BILL)
    assert old[high].all()
    assert not new[high].any()
    low = without & (bills <= np.sort(bills[without])[high.sum() - 1])
    assert new[low].all()
    assert low.sum() == high.sum()
    assert (old == new)[~high & ~low].all()
    assert new.mean() == pytest.approx(0.135, abs=0.001)


@pytest.mark.parametrize(("drift", "low", "high"), [(0.0, 0.0, 0.0), (0.5, 0.35, 0.65), (1.0, 1.0, 1.0)])
def test_drift_is_the_share_of_later_customers_from_the_new_world(
    settings: Settings, drift: float, low: float, high: float
):
    drawn = world(settings, drift)
    before, after = drawn.arrivals(1167), drawn.arrivals(1167, changed=True)

    def share(customers: Sequence[Customer]) -> float:
        """Return the share of stayers among customers with a high bill and no voice mail."""
        columns = columns_of(customers, settings)
        chosen = (columns["voice_mail_plan"] == 0.0) & (bill(columns) > HIGH_BILL + 2)
        return float(1 - np.array([customer.churned for customer in customers])[chosen].mean())

    assert share(before) == 0.0
    assert low <= share(after) <= high


def test_the_same_seed_gives_the_same_customers_another_gives_others(settings: Settings):
    first, again, other = (world(settings, seed=seed).arrivals(200, changed=True) for seed in (3, 3, 4))
    assert first == again
    assert first != other
