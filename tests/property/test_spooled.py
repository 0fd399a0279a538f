"""Customers in a temporary file are those in memory, to the last bit."""

import errno
import io
import tempfile
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from churnops.data.identity import content_hashes
from churnops.errors import ChurnopsError
from churnops.monitoring import batch as batches
from churnops.monitoring import spooled
from churnops.monitoring.batch import Batch, LabelCoverage, Resolved
from churnops.monitoring.monitor import _write_customers
from churnops.monitoring.spooled import SpooledColumns
from churnops.schema import Column, Columns, Schema

SCHEMA = Schema(
    columns=(
        Column(name="minutes", kind="number"),
        Column(name="calls", kind="integer"),
        Column(name="plan", kind="category", choices=('a "b", c', "d")),
        Column(name="churn", kind="target", choices=("no", "yes")),
    )
)
ROWS = st.lists(
    st.tuples(
        st.floats(allow_infinity=False) | st.just(-0.0),
        st.integers(-9, 9) | st.just(np.nan),
        st.sampled_from([0, 1, 2, np.nan]),
        st.sampled_from([0, 1, np.nan]),
    ),
    min_size=1,
    max_size=12,
)


def a_batch(columns: Columns, outcome: np.ndarray[Any, Any]) -> Batch:
    known = ~np.isnan(outcome)
    resolved = Resolved(outcome[known] / 2, outcome[known], LabelCoverage(outcome.size, int(known.sum())))
    return Batch(columns, np.linspace(0, 1, outcome.size), outcome, resolved, "test")


def as_csv(batch: Batch) -> bytes:
    file = io.BytesIO()
    _write_customers(file, batch, SCHEMA)
    return file.getvalue()


@given(ROWS, st.integers(1, 5), st.sampled_from([0, 10**6]))
def test_spooled_customers_equal_those_in_memory(rows: list[tuple[float, ...]], page: int, in_memory: int):
    values = np.array(rows, dtype=np.float64).reshape(-1, 4)
    names = ("minutes", "calls", "plan")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spooled, "IN_MEMORY", in_memory or 1)
        patch.setattr(batches, "PAGE", page)
        columns = SpooledColumns()
        for start in range(0, len(rows), page):
            columns.append(dict(zip(names, values[start : start + page, :3].T, strict=True)))
        whole = {name: values[:, place].copy() for place, name in enumerate(names)}
        inside, outside = a_batch(whole, values[:, 3]), a_batch(columns, values[:, 3])
        assert as_csv(inside) == as_csv(outside)
        patch.setattr(batches, "PAGE", 100)
        assert as_csv(inside) == as_csv(outside)
    assert inside.sha256 == outside.sha256
    assert (content_hashes(whole, names) == content_hashes(columns, names)).all()
    assert columns.keys() == whole.keys()


def test_a_full_disk_is_one_line(monkeypatch: pytest.MonkeyPatch):
    class Full(io.BytesIO):
        def write(self, _: Any) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "SpooledTemporaryFile", lambda size: Full())
    with pytest.raises(ChurnopsError, match=r"\A.* cannot hold .*: No space left on device; .*TMPDIR.*\Z"):
        SpooledColumns().append({"minutes": np.zeros(3)})
