"""Identities of a table's rows do not depend on row order or the bits of numbers."""

from collections.abc import Mapping

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from churnops.data.identity import content_hashes, customer_hashes, identify

NAMES = ("minutes", "plan")
Row = tuple[str | None, float, float]

numbers = st.sampled_from([0.0, -0.0, 1.0, 5e-324, 1e308, float("inf"), float("nan"), -float("nan")]) | st.floats()
rows = st.tuples(
    st.none() | st.sampled_from(["ann", "bob", "carl", ""]),
    st.sampled_from([0.0, -0.0, 1.0, np.nan]),
    st.sampled_from([0.0, 1.0, np.nan]),
)
tables = st.lists(rows, max_size=12)


def columns(table: list[Row]) -> Mapping[str, NDArray[np.float64]]:
    return {name: np.array([row[i + 1] for row in table], dtype=np.float64) for i, name in enumerate(NAMES)}


def customers(table: list[Row]) -> list[str | None]:
    return [row[0] for row in table]


def same(x: float, y: float) -> bool:
    return x == y or (x != x and y != y)


def is_held(row: Row, table: list[Row]) -> bool:
    """Say it in words, row by row."""
    for other in table:
        if row[0] is not None and other[0] is not None:
            if row[0] == other[0]:
                return True
        elif same(row[1], other[1]) and same(row[2], other[2]):
            return True
    return False


@given(tables, tables)
def test_a_row_is_known_by_customer_or_by_content_without_an_id(known: list[Row], asked: list[Row]):
    identities = identify(columns(known), customers(known), NAMES)
    held = identities.holds(columns(asked), customers(asked))
    assert held.dtype == np.bool_
    assert held.tolist() == [is_held(row, known) for row in asked]


@given(tables.flatmap(lambda table: st.tuples(st.just(table), st.permutations(table))))
def test_the_order_of_rows_and_how_often_they_stand_change_nothing(both: tuple[list[Row], list[Row]]):
    table, permuted = both
    known = identify(columns(table), customers(table), NAMES)
    again = identify(columns(permuted + table), customers(permuted + table), NAMES)
    assert known.names == again.names
    for name in ("customers", "named", "nameless"):
        found = getattr(known, name)
        assert found.dtype == np.uint64
        assert (found[1:] > found[:-1]).all()
        assert np.array_equal(found, getattr(again, name))
    assert known.holds(columns(table), customers(table)).all()


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=20))
def test_contents_have_one_hash_exactly_if_their_values_are_equal(values: list[tuple[float, float]]):
    table = {"minutes": np.array([x for x, _ in values]), "plan": np.array([y for _, y in values])}
    given_as = {name: column.copy() for name, column in table.items()}
    hashes = content_hashes(table, NAMES).tolist()
    for i, (x, y) in enumerate(values):
        for j, (u, v) in enumerate(values):
            assert (hashes[i] == hashes[j]) == (same(x, u) and same(y, v))
    for name, column in table.items():  # the caller's arrays are as they were, signs of zeros too
        assert np.array_equal(column.view(np.uint64), given_as[name].view(np.uint64))


@given(st.lists(st.floats(), min_size=1, max_size=8), st.integers(0, 2**52 - 1), st.booleans())
def test_every_nan_has_the_same_hash(values: list[float], payload: int, negative: bool):
    bits = 0x7FF0_0000_0000_0000 | payload | 1 | negative << 63
    odd = np.array([*values, 0.0])
    odd.view(np.uint64)[-1] = bits
    plain = np.array([*values, np.nan])
    assert np.array_equal(content_hashes({"x": odd}, ["x"]), content_hashes({"x": plain}, ["x"]))


@given(st.lists(st.none() | st.text(), max_size=10))
def test_customers_have_one_hash_if_and_only_if_their_ids_are_equal(ids: list[str | None]):
    hashes = customer_hashes(ids).tolist()
    assert [value == 0 for value in hashes] == [id_ is None for id_ in ids]
    assert len(set(hashes)) == len(set(ids))
