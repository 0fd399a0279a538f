"""The relation of a determined column is recovered from profiles alone: its own rows never contradict it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from churnops.data.dependence import linked_columns
from churnops.data.profile import ColumnProfile
from churnops.data.relation import Relation

FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "charge": lambda x: np.round(0.17 * x, 2),
    "falls": lambda x: np.round(100.0 - 0.3 * x, 1),
    "steps": lambda x: np.floor(x / 25.0) * 10.0,
    "convex": lambda x: np.round(x**2 / 50.0, 3),
}


def relation(x: Any, y: Any, limit: int | None = None) -> Relation | None:
    return Relation.of(ColumnProfile.fit(x, limit), ColumnProfile.fit(y, limit))


@given(st.sampled_from(sorted(FUNCTIONS)), st.integers(0, 10_000), st.sampled_from([None, 300]))
def test_rows_of_the_same_function_never_contradict(name: str, seed: int, limit: int | None):
    rng = np.random.default_rng(seed)
    x, later = (np.round(rng.gamma(9.0, 12.0, rows), 1) for rows in (2000, 500))
    function = FUNCTIONS[name]
    assert linked_columns({"x": x, "y": function(x)}) == {"y": "x"}
    recovered = relation(x, function(x), limit)
    if recovered is None:
        assert limit is not None or name == "steps"  # few values may fit both directions
        return
    assert recovered.rises is (name != "falls")
    for values in (x, later):
        assert all(map(recovered.allows, values.tolist(), function(values).tolist()))


@pytest.mark.parametrize("name", ["charge", "falls", "convex"])
def test_another_rate_is_a_contradiction(name: str, rng: np.random.Generator):
    x, later = (np.round(rng.gamma(9.0, 12.0, rows), 1) for rows in (2000, 500))
    function = FUNCTIONS[name]
    recovered = relation(x, function(x))
    assert recovered is not None
    wrong = function(later) * 1.1
    wrong[:40] = np.nan
    allowed = np.array(list(map(recovered.allows, later.tolist(), wrong.tolist())))
    assert np.mean(allowed) < 0.05
    later[40:50] = np.nan
    assert recovered.broken_rows(later, wrong).tolist() == (np.flatnonzero(~allowed[50:]) + 50).tolist()


@pytest.mark.parametrize("limit", [None, 300])
def test_profiles_with_few_points_bound_the_value(rng: np.random.Generator, limit: int | None):
    x = np.round(rng.gamma(9.0, 12.0, 5000))
    recovered = relation(x, x * 2.0, limit)
    assert recovered is not None
    low, high = recovered.bounds(100.0)
    assert low <= 200.0 <= high
    assert not recovered.allows(100.0, 400.0)


def test_beyond_the_reference_only_one_bound_is_known():
    x = np.append(np.repeat(np.arange(40.0), 2), 39.0)
    recovered = relation(x, 100.0 - x)
    assert recovered is not None
    assert recovered.bounds(-1.0) == (100.0, np.inf)
    assert recovered.bounds(50.0) == (-np.inf, 61.0)
    assert recovered.allows(50.0, -1e9)
    assert not recovered.allows(50.0, 99.0)


def test_no_relation_without_a_certain_direction():
    x = np.arange(100.0)  # no repeated value: the profiles of a rising and a falling column are the same
    assert relation(x, 2.0 * x) is None
    tied = np.repeat(x, 2)
    assert relation(tied, 2.0 * tied) is None  # symmetric
    assert relation(np.append(tied, np.nan), np.append(2.0 * tied, 3.0)) is None
    assert relation(tied, np.full(200, 5.0)) is None
    assert relation(tied, np.append(2.0 * tied[:-1], np.inf)) is None
