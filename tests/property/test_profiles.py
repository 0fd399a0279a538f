"""Profiles: exact counts, whatever the numbers; merged in any order; packed, unpacked; bounded with a known error."""

import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from churnops.data.dependence import linked_columns
from churnops.data.packing import pack_profile, unpack_profile
from churnops.data.profile import ColumnProfile, count_profile, fit_profile, merge_profiles
from churnops.errors import DataError

TIED = st.integers(-3, 3).map(float)
EXTREME = st.sampled_from(
    [
        0.0,
        -0.0,
        np.inf,
        -np.inf,
        5e-324,
        -5e-324,
        1.7976931348623157e308,
        -1.7976931348623157e308,
        2.2250738585072014e-308,
        1.0,
        np.nextafter(1.0, 0.0),
        np.nextafter(1.0, 2.0),
    ]
)
VALUE = st.one_of(TIED, st.floats(allow_nan=True), EXTREME)
COLUMN = st.lists(VALUE, max_size=60).map(lambda values: np.array(values, dtype=np.float64))


def naive(points: np.ndarray, values: np.ndarray) -> tuple[list[int], int]:
    """Count by the definition."""
    counts, known = [0] * (2 * points.size + 1), [v for v in values if v == v]
    for value in known:
        below = sum(1 for point in points if point < value)
        counts[2 * below + (1 if below < points.size and points[below] == value else 0)] += 1
    return counts, values.size - len(known)


def distance(reference: ColumnProfile, batch: ColumnProfile) -> float:
    return float(np.abs(np.cumsum(reference.counts) / reference.rows - np.cumsum(batch.counts) / batch.rows).max())


def same(one: ColumnProfile, other: ColumnProfile) -> bool:
    parts = ((one.points, other.points), (one.counts, other.counts), ([one.missing], [other.missing]))
    return all(np.array_equal(a, b) for a, b in parts)


@given(COLUMN)
def test_a_reference_counts_every_row_once(values: np.ndarray):
    profile = ColumnProfile.fit(values)
    assert profile.rows + profile.missing == values.size
    assert (profile.points[1:] > profile.points[:-1]).all()  # a difference may overflow
    assert profile.outside == 0
    assert profile.ks_error == 0.0
    assert not np.signbit(profile.points[profile.points == 0.0]).any()
    assert (profile.counts.tolist(), profile.missing) == naive(profile.points, values)


@given(COLUMN, COLUMN)
def test_a_batch_is_counted_exactly(reference: np.ndarray, batch: np.ndarray):
    profile = ColumnProfile.fit(reference)
    counted = profile.count(batch)
    assert (counted.counts.tolist(), counted.missing) == naive(profile.points, batch)


@pytest.mark.parametrize("scale", [1e-310, 1e-3, 1.0, 1e300])
def test_a_large_batch_is_counted_exactly_at_every_scale(scale: float, rng: np.random.Generator):
    """Skewed columns too: nearly all points share one bucket."""
    reference = np.concatenate([rng.lognormal(sigma=4.0, size=5000), rng.normal(size=5000), [0.0]]) * scale
    batch = np.concatenate([rng.permutation(reference)[:3000], rng.lognormal(sigma=5.0, size=5000) * scale])
    profile = ColumnProfile.fit(reference)
    place = np.searchsorted(profile.points, batch)
    at = profile.points[np.minimum(place, profile.points.size - 1)] == batch
    expected = np.bincount(2 * place + at, minlength=profile.counts.size)
    np.testing.assert_array_equal(profile.count(batch).counts, expected)
    strided = np.stack([batch, batch], axis=1)[:, 1]  # a column of a table in rows
    np.testing.assert_array_equal(profile.count(strided).counts, expected)


@given(COLUMN, st.lists(COLUMN, min_size=3, max_size=3))
def test_merging_is_counting_together_in_any_order(reference: np.ndarray, batches: list[np.ndarray]):
    profile = ColumnProfile.fit(reference)
    a, b, c = (profile.count(batch) for batch in batches)
    together = profile.count(np.concatenate(batches))
    for merged in (a.merge(b).merge(c), a.merge(b.merge(c)), c.merge(a).merge(b)):
        assert same(merged, together)
    assert same(a.merge(profile.empty()), a)


@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.float32, np.bool_])
def test_every_kind_of_number_is_counted_as_float64(kind: type):
    reference, batch = np.array([0, 1, 1], dtype=kind), np.array([1, 0, 0], dtype=kind)
    assert ColumnProfile.fit(reference).counts.tolist() == [0, 1, 0, 2, 0]
    assert ColumnProfile.fit(reference).count(batch).counts.tolist() == [0, 2, 0, 1, 0]


def test_a_bounded_reference_has_both_ends():
    assert ColumnProfile.fit(np.arange(9.0), 2).points.tolist() == [0.0, 8.0]
    for most in (1, 0, -1):
        with pytest.raises(ValueError, match="at least 2 points"):
            ColumnProfile.fit(np.arange(9.0), most)


def test_profiles_of_different_references_are_not_merged():
    one, other = ColumnProfile.fit(np.array([1.0, 2.0])), ColumnProfile.fit(np.array([1.0, 3.0]))
    with pytest.raises(ValueError, match="different references"):
        one.merge(other)
    with pytest.raises(ValueError, match="different references"):
        merge_profiles({"x": one}, {"y": one})


@given(st.lists(VALUE, min_size=4, max_size=200), st.lists(VALUE, min_size=1, max_size=60), st.integers(2, 12))
def test_a_bounded_reference_has_its_stated_error(reference: list[float], batch: list[float], most: int):
    values, others = np.array(reference), np.array(batch)
    if np.isnan(values).all() or np.isnan(others).all():
        return
    exact, bounded = ColumnProfile.fit(values), ColumnProfile.fit(values, most)
    assert bounded.points.size <= max(most, 2)
    assert bounded.rows == exact.rows
    found, true = distance(bounded, bounded.count(others)), distance(exact, exact.count(others))
    assert found <= true + 1e-12
    assert true <= found + bounded.ks_error + 1e-12
    heavy = exact.points[exact.at_points > exact.rows / (most - 1)]
    assert np.isin(heavy, bounded.points).all()
    assert bounded.ks_error <= 1.0 / (most - 1)


COLUMNS = st.dictionaries(st.sampled_from(["minutes", "plan", "größe"]), COLUMN, min_size=1)


@given(COLUMNS, COLUMNS)
def test_a_profile_is_unchanged_by_packing(reference: dict[str, np.ndarray], batch: dict[str, np.ndarray]):
    profile = fit_profile(reference)
    counted = count_profile(profile, batch)
    again = unpack_profile(pack_profile(counted), profile)
    assert list(again) == list(counted)
    assert all(same(again[name], counted[name]) for name in counted)


@given(st.data())
def test_damaged_profiles_are_refused_or_at_least_profiles(data: st.DataObject):
    reference = fit_profile({"minutes": np.arange(20.0), "plan": np.array([0.0, 1.0])})
    packed = pack_profile(count_profile(reference, {"minutes": np.arange(30.0), "plan": np.zeros(3)}))
    match data.draw(st.sampled_from(["flip", "cut", "append", "body"])):
        case "flip":
            place = data.draw(st.integers(0, len(packed) - 1))
            damaged = packed[:place] + bytes([packed[place] ^ data.draw(st.integers(1, 255))]) + packed[place + 1 :]
        case "cut":
            damaged = packed[: data.draw(st.integers(0, len(packed) - 1))]
        case "append":
            damaged = packed + data.draw(st.binary(min_size=1, max_size=9))
        case _:  # the checksum fits, the content does not
            head = len(packed) - len(zlib.compress(zlib.decompress(packed[35:])))
            body = bytearray(zlib.decompress(packed[head:]))
            place = data.draw(st.integers(0, len(body) - 1))
            body[place] ^= 0x80
            damaged = packed[:head] + zlib.compress(bytes(body))
    try:
        again = unpack_profile(damaged, reference)
    except DataError:
        return
    assert damaged[35:] != packed[35:]  # a changed count cannot be told from a true one; a changed shape can
    for name, column in again.items():
        assert column.counts.size == reference[name].counts.size
        assert (column.counts >= 0).all()
        assert column.missing >= 0


def test_a_decompression_bomb_and_another_reference_are_refused():
    reference = fit_profile({"minutes": np.arange(20.0)})
    packed = pack_profile(count_profile(reference, {"minutes": np.arange(30.0)}))
    for head, known in ((packed[:35], reference), (pack_profile({})[:35], {})):
        bomb = head + zlib.compress(bytes(10_000_000))
        tracemalloc.start()
        try:
            with pytest.raises(DataError, match="does not end where it should"):
                unpack_profile(bomb, known)
            assert tracemalloc.get_traced_memory()[1] < 1_000_000
        finally:
            tracemalloc.stop()
    with pytest.raises(DataError, match="another reference"):
        unpack_profile(packed, fit_profile({"minutes": np.arange(21.0)}))
    with pytest.raises(DataError, match="not a profile"):
        unpack_profile(b"\x80\x04\x95", reference)


def test_the_profile_of_a_typical_day_is_small(telecom_columns: dict[str, np.ndarray], rng: np.random.Generator):
    reference = fit_profile(telecom_columns)
    day = {name: values[rng.integers(0, values.size, 5000)] for name, values in telecom_columns.items()}
    assert len(pack_profile(count_profile(reference, day))) < 40_000


def test_charges_follow_minutes_and_the_plan_its_messages(telecom_columns: dict[str, np.ndarray]):
    expected = {f"total_{part}_charge": f"total_{part}_minutes" for part in ("day", "eve", "night", "intl")}
    assert linked_columns(telecom_columns) == expected | {"voice_mail_plan": "number_vmail_messages"}


@given(st.integers(0, 2**32 - 1), st.integers(40, 80))
def test_links_need_a_function_that_only_rises_or_falls(seed: int, rows: int):
    rng = np.random.default_rng(seed)
    x = rng.permutation(rows).astype(float)
    falling, constant, noise = -np.floor(x / 3), np.zeros(rows), rng.permutation(rows).astype(float)
    hole = falling.copy()
    hole[: rows - 29] = np.nan  # too few rows left to tell
    broken = falling.copy()
    broken[np.argmax(x)] = 5.0
    columns = {"falling": falling, "x": x, "constant": constant, "noise": noise, "hole": hole, "broken": broken}
    assert linked_columns(columns) == {"falling": "x"}
    long = np.arange(50_000.0)
    once = long.copy()
    once[rng.integers(1, long.size - 1)] = -1.0  # one row of 50,000, seldom one of the sample
    assert linked_columns({"long": long, "tenths": np.floor(long / 10), "once": once}) == {"tenths": "long"}
    # Of two that determine each other the first stays; a chain leads to its beginning.
    assert linked_columns({"x": x, "twice": 2 * x, "coarse": np.floor(x / 2), "coarser": np.floor(x / 9)}) == {
        "twice": "x",
        "coarse": "x",
        "coarser": "x",
    }


def naive_links(columns: dict[str, np.ndarray]) -> dict[str, str]:
    """Link by the definition."""
    distinct = {name: len({v for v in values if v == v}) for name, values in columns.items()}
    ranked = sorted((name for name in columns if distinct[name] > 1), key=lambda name: -distinct[name])
    linked: dict[str, str] = {}
    for place, name in enumerate(ranked):
        for root in ranked[:place]:
            pairs = sorted((x, y) for x, y in zip(columns[root], columns[name], strict=True) if x == x and y == y)
            ys = [y for _, y in pairs]
            is_function = len({x for x, _ in pairs}) == len(set(pairs))
            monotone = ys in (sorted(ys), sorted(ys, reverse=True))
            evidence = len(ys) - max(map(ys.count, ys), default=0) >= 30
            if root not in linked and is_function and monotone and evidence:
                linked[name] = root
                break
    return {name: linked[name] for name in columns if name in linked}


@given(st.data(), st.integers(0, 2**32 - 1))
def test_links_are_those_of_the_definition(data: st.DataObject, seed: int):
    rng = np.random.default_rng(seed)
    rows = data.draw(st.integers(1, 120))
    roots = [rng.permutation(rows).astype(float), rng.integers(0, 12, rows).astype(float)]
    columns = {}
    for n in range(data.draw(st.integers(1, 6))):
        values = roots[data.draw(st.integers(0, 1))].copy()
        values = np.floor(values / data.draw(st.sampled_from([1, 2, 7, 50]))) * data.draw(st.sampled_from([-1, 1]))
        values[: data.draw(st.sampled_from([0, 0, 1, rows // 2]))] = np.nan
        values[: data.draw(st.sampled_from([0, 0, 0, 1]))] = np.inf
        columns[f"c{n}"] = values
    assert linked_columns(columns) == naive_links(columns)


@pytest.mark.parametrize("rows", [60, 200, 5000])
def test_a_link_needs_thirty_rows_outside_the_most_frequent_value(rows: int):
    x = np.arange(float(rows))
    for rare, found in ((29, {}), (30, {"flag": "x"})):
        assert linked_columns({"flag": (x < rare).astype(float), "x": x}) == found
    missing = np.where(x % 2, x, np.nan)  # half of the rows have both
    for rare, found in ((59, {}), (60, {"flag": "x"})):
        assert linked_columns({"flag": (x < rare).astype(float), "x": missing}) == (found if rows > 60 else {})


def test_rare_flags_of_a_small_table_are_not_linked_by_accident(rng: np.random.Generator):
    for _ in range(100):
        columns = {f"number {n}": rng.normal(size=200).round(1) for n in range(5)}
        columns |= {f"flag {n}": (rng.permutation(200) < 1 + n // 2).astype(float) for n in range(5)}
        assert linked_columns(columns) == {}


def test_links_among_many_columns_take_the_memory_of_a_few(rng: np.random.Generator):
    columns = {}
    for n in range(20):  # each nearly determines the others, so no sample tells
        columns[f"c{n}"] = np.arange(50_000.0)
        columns[f"c{n}"][rng.integers(1, 49_999)] = -1.0
    tracemalloc.start()
    try:
        assert linked_columns(columns) == {}
        assert tracemalloc.get_traced_memory()[1] < 8 * columns["c0"].nbytes
    finally:
        tracemalloc.stop()
