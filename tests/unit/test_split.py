"""The split by time: rows for the comparison, rows for the choice, and no customer in two parts."""

from dataclasses import replace

import numpy as np
import pytest

from churnops.data.identity import customer_hashes
from churnops.data.time_split import Moments
from churnops.errors import DataError
from churnops.retraining.split import MAX_SHARE, MIN_TO_FIT, Table, one_row_each, split
from churnops.settings import RetrainingSettings

NAMES = ["minutes", "calls"]
SETTINGS = RetrainingSettings(holdout_rows=100)


def table(original: int, production: int, seed: int = 1, *, ids: bool = False) -> Table:
    """Rows of distinct contents; production rows come one a microsecond, in a random order."""
    rng, n = np.random.default_rng(seed), original + production
    at = np.concatenate([np.zeros(original, np.int64), 1 + rng.permutation(production)])
    customers = tuple(f"c{i}" if ids else None for i in range(n))
    columns = {"minutes": rng.permutation(n).astype(float), "calls": rng.integers(9, size=n).astype(float)}
    return Table(columns, rng.random(n) < 0.2, at, customers)


def nobody(rows: Table) -> np.ndarray:
    return np.zeros(rows.at.shape, dtype=np.bool_)


def test_the_newest_are_held_out_and_those_before_chosen_on():
    rows = table(300, 1000)
    parts = split(rows, nobody(rows), NAMES, SETTINGS)
    assert sorted(rows.at[parts.held_out]) == list(range(901, 1001))
    assert sorted(rows.at[parts.newest]) == list(range(801, 901))
    assert (parts.training == ~parts.held_out).all()
    [(fitted, chosen)] = parts.folds(rows, NAMES, 5, seed=1)
    training = rows.rows(parts.training)
    assert sorted(training.at[chosen]) == list(range(801, 901))
    assert sorted(training.at[fitted]) == [0] * 300 + list(range(1, 801))


def test_with_few_rows_a_share_is_held_out():
    rows = table(300, 100)
    assert split(rows, nobody(rows), NAMES, SETTINGS).held_out.sum() == MAX_SHARE * 100


def test_row_order_does_not_matter_even_among_equal_times():
    rows = replace(table(300, 1000), at=np.repeat([0, 7], [300, 1000]))
    turned = rows.rows(np.ones(1300, np.bool_))
    order = np.random.default_rng(3).permutation(1300)
    turned = Table({k: v[order] for k, v in rows.columns.items()}, rows.outcome[order], rows.at[order], rows.customers)
    one, other = (split(t, nobody(t), NAMES, SETTINGS) for t in (rows, turned))
    assert (one.held_out[order] == other.held_out).all()
    assert (one.newest[order] == other.newest).all()
    for scheme, weighting in one.weightings(rows, SETTINGS).items():
        if weighting is not None:
            all_rows = np.arange(one.training.sum())
            mine = dict(zip(rows.columns["minutes"][one.training], weighting(all_rows), strict=True))
            again = other.weightings(turned, SETTINGS)[scheme]
            assert again is not None
            theirs = dict(zip(turned.columns["minutes"][other.training], again(all_rows), strict=True))
            assert mine == theirs


def test_training_customers_of_the_deployed_model_are_not_held_out():
    rows = table(300, 1000)
    known = rows.at > 950
    parts = split(rows, known, NAMES, SETTINGS)
    assert sorted(rows.at[parts.held_out]) == list(range(851, 951))
    assert parts.training[known].all()


def test_a_held_out_customer_is_in_no_training_row():
    rows = table(300, 1000, ids=True)
    newest = int(np.argmax(rows.at))
    customers = list(rows.customers)
    customers[0] = customers[newest]  # also in the original table, as they were then
    rows = replace(rows, customers=tuple(customers))
    parts = split(rows, nobody(rows), NAMES, SETTINGS)
    assert parts.held_out[newest]
    assert not parts.training[0]
    assert not parts.held_out[0]


def test_with_too_few_recent_churners_candidates_are_chosen_in_folds():
    rows = table(300, 1000)
    rows = replace(rows, outcome=rows.outcome & ((rows.at == 0) | (rows.at > 900)))
    parts = split(rows, nobody(rows), NAMES, SETTINGS)
    assert not parts.newest.any()
    folds = parts.folds(rows, NAMES, 5, seed=1)
    assert len(folds) == 5
    assert sorted(np.concatenate([chosen for _, chosen in folds])) == list(range(1200))


def test_recent_rows_count_alone_and_older_ones_less_and_less():
    rows = table(300, 4000)
    parts = split(rows, nobody(rows), NAMES, SETTINGS)
    everyone = np.arange(parts.training.sum())
    at = rows.at[parts.training]
    weightings = parts.weightings(rows, replace_fraction(0.4))
    assert weightings["all rows"] is None
    recent, weighted = weightings["recent rows"], weightings["recency-weighted"]
    assert recent is not None
    assert weighted is not None
    assert sorted(at[recent(everyone) > 0]) == list(range(3900 - 1560 + 1, 3901))
    weight = weighted(everyone)
    assert weight[at == 3900] == 1.0
    assert weight[at == 3900 - 1560] == pytest.approx(0.5)
    assert weight[at == 0].max() < weight[at == 1].min()
    some = np.flatnonzero(at <= 2000)  # what is recent is so among the rows that are fitted
    assert sorted(at[some][recent(some) > 0]) == list(range(1201, 2001))


def replace_fraction(share: float) -> RetrainingSettings:
    return RetrainingSettings(holdout_rows=100, recent_fraction=share)


def test_a_customer_stands_once_as_last_seen():
    rows = table(2, 6, ids=True)
    rows = replace(rows, at=np.array([0, 0, 1, 2, 3, 4, 5, 6]), customers=("a", "a", "a", "b", "a", None, None, "b"))
    minutes = rows.columns["minutes"]
    minutes[6], rows.columns["calls"][6] = minutes[5], rows.columns["calls"][5]  # one who has no id, again
    assert one_row_each(rows, NAMES).tolist() == [True, True, False, False, True, False, True, True]


def test_a_repeated_customer_without_an_id_counts_once():
    """Like rows of the journal in a file from which the ids were removed."""
    rows = table(2, 6, ids=True)
    rows = replace(rows, at=np.array([0, 0, 1, 2, 3, 4, 5, 6]), customers=("a", None, "b", "c", None, None, None, None))
    for name in NAMES:
        values = rows.columns[name]
        values[4], values[5], values[6] = values[2], values[3], values[1]
    # The row of the original table comes again too, and is known by its contents whoever was trained on it.
    assert one_row_each(rows, NAMES).tolist() == [True, True, True, True, False, False, True, True]


@pytest.mark.parametrize("production", [1, 3, 30, 1000])
@pytest.mark.parametrize("churned", [0, 1])
def test_recent_rows_have_both_outcomes_however_few_in_production(production: int, churned: int):
    rows = table(300, production)
    rows = replace(rows, outcome=np.where(rows.at > 0, churned == 1, rows.outcome))
    parts = split(rows, nobody(rows), NAMES, SETTINGS)
    everyone, outcome = np.arange(parts.training.sum()), rows.outcome[parts.training]
    for scheme, weighting in parts.weightings(rows, SETTINGS).items():
        if weighting is not None:
            weight = weighting(everyone)
            heavy = weight >= (1.0 if scheme == "recent rows" else 0.5)
            assert min(outcome[heavy].sum(), (~outcome[heavy]).sum()) >= MIN_TO_FIT, scheme


def in_time(rows: Table, gap: float) -> Table:
    """Return rows whose times are days of the same number; original ones are spread over the 300 days before."""
    original = -np.arange(rows.at.size, 0, -1) / rows.at.size * 300
    days = np.where(rows.at > 0, rows.at, original).astype(float)
    return replace(rows, moments=Moments(days, customer_hashes(rows.customers), gap))


def test_in_time_the_outcomes_of_fitted_rows_were_known():
    rows = in_time(table(300, 1000, ids=True), gap=30.0)
    parts = split(rows, nobody(rows), NAMES, SETTINGS)
    assert sorted(rows.at[parts.held_out]) == list(range(901, 1001))
    assert sorted(rows.at[parts.newest]) == list(range(772, 872))
    assert rows.at[parts.training].max() == 871
    [(fitted, chosen)] = parts.folds(rows, NAMES, 5, seed=1)
    training = rows.rows(parts.training)
    assert sorted(training.at[chosen]) == list(range(772, 872))
    assert training.at[fitted].max() == 742


def test_in_time_few_new_rows_give_forward_folds():
    rows = in_time(table(300, 120), gap=30.0)
    parts = split(rows, nobody(rows), NAMES, SETTINGS)
    assert not parts.newest.any()
    training = rows.rows(parts.training)
    folds = parts.folds(rows, NAMES, 3, seed=1)
    assert folds
    for fitted, chosen in folds:
        assert training.moments is not None
        assert training.moments.at[fitted].max() <= training.moments.at[chosen].min() - 30.0


def test_in_time_too_few_old_rows_are_refused():
    rows = in_time(table(300, 120), gap=1000.0)
    with pytest.raises(DataError, match=r"1000 days \(journal\.label_horizon\) older than the customers"):
        split(rows, nobody(rows), NAMES, SETTINGS)
