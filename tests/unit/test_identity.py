"""Hashes of customers and rows, and their file beside the deployed models."""

import json
import stat
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from churnops.data.identity import Identities, content_hashes, customer_hashes, identify
from churnops.errors import DataError, RegistryError
from churnops.model.arrays import write_arrays
from churnops.registry.trained_on import load_trained_on, save_trained_on

SHA = "0123456789abcdef" * 4
COLUMNS = {"minutes": np.array([1.0, 2.0, np.nan, 2.0]), "plan": np.array([0.0, 1.0, 1.0, np.nan])}
CUSTOMERS = ["ann", None, "größe", None]
CONTENTS = ["0xa9b772e8c7649d4e", "0x107376367b9047b", "0xa58657d45e221866", "0x10c24597fe6ad652"]
IDS = ["0xa5f323bf6adf3a8d", "0x0", "0xe99a32c955e1f8f4", "0x0", "0xb4b2797457a0a6e4", "0x680d7d923e780842"]


@pytest.fixture
def identities() -> Identities:
    return identify(COLUMNS, CUSTOMERS, ["minutes", "plan"])


def assert_same(found: Identities | None, expected: Identities) -> None:
    assert found is not None
    assert found.names == expected.names
    for name in ("customers", "named", "nameless"):
        assert np.array_equal(getattr(found, name), getattr(expected, name))
        assert getattr(found, name).dtype == np.uint64


def test_hashes_are_the_same_in_every_version():
    # Files of deployed models hold them: if these change, `trained_on.VERSION` must.
    assert [hex(value) for value in content_hashes(COLUMNS, ["minutes", "plan"]).tolist()] == CONTENTS
    assert [hex(value) for value in customer_hashes([*CUSTOMERS, "", "\ud800"]).tolist()] == IDS


def test_the_same_values_in_other_columns_are_another_content():
    values = np.arange(4.0)
    table = {"x": values, "y": values[::-1].copy(), "z": values}
    assert not np.isin(content_hashes(table, ["x"]), content_hashes(table, ["z"])).any()
    assert not np.isin(content_hashes(table, ["x", "y"]), content_hashes(table, ["y", "x"])).any()
    assert np.array_equal(content_hashes(table, ["x", "y"]), content_hashes({**table, "z": values + 1}, ["x", "y"]))


def test_a_million_rows_have_a_million_hashes():
    # Grids of small whole numbers are what weak mixing confuses.
    side = np.arange(1000.0)
    table = {"x": np.repeat(side, 1000), "y": np.tile(side, 1000)}
    began = time.perf_counter()
    hashes = content_hashes(table, ["x", "y"])
    print(f"two columns of a million rows: {time.perf_counter() - began:.3f} s")  # noqa: T201
    assert np.unique(hashes).size == hashes.size
    ones = np.array([(hashes >> np.uint64(bit) & np.uint64(1)).mean() for bit in range(64)])
    assert np.abs(ones - 0.5).max() < 0.003  # six standard errors


def test_the_first_column_that_is_missing_is_named(identities: Identities):
    with pytest.raises(DataError, match=r"column 'minutes' is missing.*: give a table with the columns minutes, plan$"):
        identities.holds({"other": np.zeros(4)}, CUSTOMERS)
    with pytest.raises(DataError, match="column 'plan' is missing"):
        identify({"minutes": np.zeros(1)}, [None], ["minutes", "plan", "state"])
    with pytest.raises(ValueError, match="at least one column"):
        content_hashes(COLUMNS, [])


@pytest.mark.parametrize("customers", [[], ["ann"], ["ann"] * 5])
def test_as_many_customers_as_rows_are_needed(identities: Identities, customers: list[str | None]):
    with pytest.raises(ValueError, match=r"customers were given for 4 rows"):
        identities.holds(COLUMNS, customers)
    with pytest.raises(ValueError, match=r"customers were given for 4 rows"):
        identify(COLUMNS, customers, ["minutes"])


def test_saved_identities_are_loaded_unchanged(tmp_path: Path, identities: Identities):
    models = tmp_path / "new" / "models"
    assert load_trained_on(models, SHA) is None
    save_trained_on(models, SHA, identities)
    assert_same(load_trained_on(models, SHA), identities)
    assert load_trained_on(models, SHA[::-1]) is None
    nobody = identify({"größe": np.empty(0)}, [], ["größe"])
    save_trained_on(models, SHA[::-1], nobody)
    assert_same(load_trained_on(models, SHA[::-1]), nobody)


def test_only_the_user_reads_it(tmp_path: Path, identities: Identities):
    save_trained_on(tmp_path, SHA, identities)
    folder = tmp_path / "trained_on"
    assert [path.name for path in folder.iterdir()] == [f"{SHA}.npz"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / f"{SHA}.npz").stat().st_mode) == 0o600
    data = (folder / f"{SHA}.npz").read_bytes()
    assert b"ann" not in data
    assert "größe".encode() not in data


def test_saving_again_changes_nothing_other_identities_replace_it(tmp_path: Path, identities: Identities):
    path = tmp_path / "trained_on" / f"{SHA}.npz"
    save_trained_on(tmp_path, SHA, identities)
    before = path.stat()
    save_trained_on(tmp_path, SHA, identities)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    other = replace(identities, customers=identities.customers[:1])
    save_trained_on(tmp_path, SHA, other)
    assert_same(load_trained_on(tmp_path, SHA), other)
    path.write_bytes(b"damaged")
    save_trained_on(tmp_path, SHA, identities)
    assert_same(load_trained_on(tmp_path, SHA), identities)


@pytest.mark.parametrize("sha", ["", "production", "../" * 21 + "x", SHA.upper(), SHA + "\n", SHA[:-1], "/etc/passwd"])
def test_a_name_that_is_no_hash_leads_nowhere(tmp_path: Path, identities: Identities, sha: str):
    for call in (lambda: save_trained_on(tmp_path, sha, identities), lambda: load_trained_on(tmp_path, sha)):
        with pytest.raises(RegistryError, match="is not a model's content hash: give the 64 hex digits") as caught:
            call()
        assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def forged(**changes: object) -> bytes:
    """Write a file with these arrays, or this document, instead of valid ones."""
    document = changes.pop("document", {"version": 1, "names": ["minutes"]})
    arrays = {"document": np.frombuffer(json.dumps(document).encode(), dtype=np.uint8)}
    arrays |= {name: np.arange(3, dtype=np.uint64) for name in ("customers", "named", "nameless")}
    return write_arrays({**arrays, **changes})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("data", "what"),
    [
        pytest.param(b"", "is damaged", id="empty"),
        pytest.param(forged()[:-200], "is damaged", id="cut"),
        pytest.param(forged().replace(bytes([2]) + bytes(7), bytes([3]) + bytes(7), 1), "is damaged", id="a-bit"),
        pytest.param(forged(more=np.zeros(1)), "is damaged", id="another-array"),
        pytest.param(forged(named=np.zeros(2)), "is damaged", id="another-type"),
        pytest.param(forged(named=np.array([None, "x"], dtype=object).astype("U1")), "is damaged", id="text"),
        pytest.param(forged(customers=np.array([2, 1], dtype=np.uint64)), "not in ascending order", id="order"),
        pytest.param(forged(customers=np.array([1, 1], dtype=np.uint64)), "not in ascending order", id="twice"),
        pytest.param(forged(document=[]), "its version or its column names cannot be read", id="a-list"),
        pytest.param(
            forged(document={"names": ["x"]}), "its version or its column names cannot be read", id="no-version"
        ),
        pytest.param(forged(document={"version": 1, "names": "x"}), "does not name its columns", id="names"),
        pytest.param(forged(document={"version": 1, "names": []}), "does not name its columns", id="no-names"),
        pytest.param(forged(document={"version": 2, "names": ["x"]}), "has version 2; this .* reads 1", id="newer"),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path, data: bytes, what: str):
    path = tmp_path / "trained_on" / f"{SHA}.npz"
    path.parent.mkdir()
    path.write_bytes(data)
    with pytest.raises(RegistryError, match=what) as caught:
        load_trained_on(tmp_path, SHA)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_pickle_is_never_run(tmp_path: Path):
    path = tmp_path / "trained_on" / f"{SHA}.npz"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("document", "customers", "named", "nameless"):
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, np.array([print], dtype=object), allow_pickle=True)
    with pytest.raises(RegistryError, match="is damaged"):
        load_trained_on(tmp_path, SHA)


def test_an_unreadable_file_is_an_error_and_not_a_missing_one(tmp_path: Path):
    (tmp_path / "trained_on" / f"{SHA}.npz").mkdir(parents=True)
    with pytest.raises(RegistryError, match="cannot be read"):
        load_trained_on(tmp_path, SHA)
