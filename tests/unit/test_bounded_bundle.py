"""A bundle is bounded before it is built, so that loading it and explaining a customer cost little, whoever made it."""

import io
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from churnops.errors import BundleError
from churnops.limits import MAX_COLUMNS
from churnops.model import TreeEnsemble, bundle_folder
from churnops.model import trees as ensembles
from churnops.model.arrays import read_arrays, write_arrays
from churnops.model.trees import MAX_DEPTH, MAX_STEPS, MAX_TREE_STEPS, MAX_TREES
from churnops.training.candidates import CANDIDATES
from churnops.training.train import TrainedModels
from tests.support.bundles import forge, refuse

PARAMETERS = {"base": 0.0, "link": "logistic"}


@pytest.fixture
def copy(tmp_path: Path, trained: TrainedModels) -> Path:
    return trained.models["xgboost"].bundle.save(tmp_path / "bundle")


def chains(trees: int, depth: int, features: int = 1) -> dict[str, Any]:
    """Return the arrays of trees in which each node has a leaf and the next node."""
    nodes = 2 * depth + 1
    inner = np.arange(nodes) % 2 == 0
    inner[-1] = False
    index = np.arange(nodes)
    feature = np.where(inner, index // 2 % features, -1)
    one = {
        "feature": feature.astype(np.int32),
        "threshold": np.where(inner, -index, 0).astype(np.float32),
        "missing_left": np.zeros(nodes, np.bool_),
        "value": np.where(inner, 0.0, 1e-6),
        "cover": np.maximum(2.0 * depth - index, 1.0),
    }
    arrays = {name: np.tile(values, trees) for name, values in one.items()}
    roots = np.arange(trees, dtype=np.int64) * nodes
    start = np.repeat(roots, nodes)
    for name, step in (("left", 1), ("right", 2)):
        arrays[name] = np.where(np.tile(inner, trees), start + np.tile(index, trees) + step, -1).astype(np.int32)
    return arrays | {"roots": roots}


def test_a_tree_is_at_most_512_deep():
    trees = TreeEnsemble.from_arrays(chains(1, MAX_DEPTH, 40), PARAMETERS, 40)
    contributions = trees.contributions(np.zeros((2, 40), np.float32))
    assert np.isfinite(contributions).all()
    for depth in (MAX_DEPTH + 1, 50_000):
        with pytest.raises(BundleError, match=f"a depth of {depth}, at most 512"):
            TreeEnsemble.from_arrays(chains(1, depth, 40), PARAMETERS, 40)


def test_there_are_at_most_10000_trees():
    assert TreeEnsemble.from_arrays(chains(MAX_TREES, 1), PARAMETERS, 1).roots.size == MAX_TREES
    with pytest.raises(BundleError, match="10001 trees, at most 10000"):
        TreeEnsemble.from_arrays(chains(MAX_TREES + 1, 1), PARAMETERS, 1)


@pytest.mark.parametrize(
    ("name", "steps"), [("MAX_STEPS", 3 * 81 * 20), ("MAX_TREE_STEPS", 81 * 20)], ids=["all-trees", "one-tree"]
)
def test_the_cost_of_an_explanation_is_bounded(monkeypatch: pytest.MonkeyPatch, name: str, steps: int):
    arrays = chains(3, 40, 20)  # 81 nodes a tree
    monkeypatch.setattr(ensembles, name, steps)
    TreeEnsemble.from_arrays(arrays, PARAMETERS, 20)
    monkeypatch.setattr(ensembles, name, steps - 1)
    with pytest.raises(BundleError, match=r"243 nodes \(81 in the largest tree\) are too many at a depth of 40"):
        TreeEnsemble.from_arrays(arrays, PARAMETERS, 20)


def test_trained_models_are_far_below_the_bounds():
    """Also on a million rows: depth is bounded by the candidates, and with it the number of nodes."""
    for family in ("decision_tree", "random_forest", "xgboost"):
        space = CANDIDATES[family].space
        depth, trees = max(space["max_depth"]), max(space.get("n_estimators", [1]))
        nodes = 2 ** (depth + 1)
        assert depth <= MAX_DEPTH / 8
        assert trees <= MAX_TREES / 8
        assert nodes * depth <= MAX_TREE_STEPS / 8
        assert trees * nodes * depth <= MAX_STEPS / 8


def test_a_document_holds_a_bounded_number_of_values(copy: Path, monkeypatch: pytest.MonkeyPatch):
    (copy / "bundle.json").write_bytes(b"[" + b"[]," * 4_000_000 + b"[]]")
    tracemalloc.start()
    refuse(copy, "more than 2097152 values")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 * 2**20
    data = b'{"format": "x", "a": [1, 2]}'
    (copy / "bundle.json").write_bytes(data)
    for limit, reason in ((4, "does not describe a bundle"), (3, "more than 3 values")):
        monkeypatch.setattr(bundle_folder, "MAX_DOCUMENT_VALUES", limit)
        refuse(copy, reason)


def test_a_schema_in_a_bundle_has_at_most_10000_columns(copy: Path):
    def widen(document: dict[str, Any]) -> None:
        columns = document["schema"]["columns"]
        columns += [columns[1] | {"name": f"c{i}", "alias": None} for i in range(MAX_COLUMNS)]

    forge(copy, widen)
    refuse(copy, "at most 10000 items")


def archive_of(members: dict[str, bytes], comment: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.comment = comment
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()


def test_a_directory_of_many_entries_is_not_read(monkeypatch: pytest.MonkeyPatch):
    content = io.BytesIO()
    np.lib.format.write_array(content, np.zeros(2))
    plain = {"x.npy": content.getvalue()}
    assert read_arrays(archive_of(plain), {"x": np.float64}, "x.npz")["x"].size == 2
    many = archive_of(plain | {f"y{i}.npy": b"" for i in range(70_000)})  # so many need a second end
    long = archive_of(plain)
    for data, reason in (
        (many, "exactly the arrays"),
        (archive_of(plain | {"y.npy": b""}), "exactly the arrays"),
        (archive_of(plain, comment=b"z"), "not a readable archive"),
        (long[:-10] + (2**20).to_bytes(4, "little") + long[-6:], "exactly the arrays"),
    ):
        monkeypatch.setattr(zipfile, "ZipFile", lambda *_: pytest.fail("the directory was read"))
        with pytest.raises(BundleError, match=reason):
            read_arrays(data, {"x": np.float64}, "x.npz")
        monkeypatch.undo()


def test_arrays_that_overlap_are_refused():
    """Many names for the same bytes would take many times the file's memory."""
    data = bytearray(write_arrays({"a": np.zeros(1000), "b": np.zeros(1000)}))
    directory = data.index(b"PK\1\2")
    for field in (20, 24):  # sizes of the first member: as far as the end of the second
        data[directory + field : directory + field + 4] = (directory - 35).to_bytes(4, "little")
    with pytest.raises(BundleError, match=r"overlap|not a readable archive"):
        read_arrays(bytes(data), {"a": np.float64, "b": np.float64}, "x.npz")
