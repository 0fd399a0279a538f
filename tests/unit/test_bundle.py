"""The bundle: a saved bundle is loaded unchanged, and any change or forgery is refused in one line."""

import io
import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from churnops.data.preprocess import PreparedTable
from churnops.errors import BundleError, ChurnopsError, DataError
from churnops.model import Bundle, bundle_folder
from churnops.model.arrays import read_arrays, write_arrays
from churnops.model.bundle_folder import OLDEST_PROTOCOL, PROTOCOL
from churnops.schema import Schema
from churnops.settings import FAMILIES
from churnops.training.train import TrainedModels
from tests.support.bundles import forge, refuse


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, trained: TrainedModels) -> Path:
    return trained.models["xgboost"].bundle.save(tmp_path_factory.mktemp("bundles") / "xgboost")


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "bundle"))


def forge_arrays(folder: Path, file: str, change: Callable[[dict[str, Any]], None]) -> None:
    with np.load(folder / file, allow_pickle=False) as archive:
        arrays = {name: archive[name].copy() for name in archive.files}
    change(arrays)
    (folder / file).write_bytes(write_arrays(arrays))
    forge(folder, lambda document: None)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_loaded_bundle_is_the_saved_one(family: str, trained: TrainedModels, prepared: PreparedTable, tmp_path: Path):
    bundle = trained.models[family].bundle
    loaded = Bundle.load(bundle.save(tmp_path / family))
    np.testing.assert_array_equal(
        loaded.predict(prepared.columns).probability, bundle.predict(prepared.columns).probability
    )
    assert loaded.content_sha256 == bundle.content_sha256
    assert loaded.version_name == bundle.version_name == f"{family}-{bundle.content_sha256[:12]}"
    assert loaded.schema == bundle.schema
    assert loaded.metrics == json.loads(json.dumps(bundle.metrics))
    for name, column in bundle.reference.items():
        np.testing.assert_array_equal(loaded.reference[name].points, column.points)
        np.testing.assert_array_equal(loaded.reference[name].counts, column.counts)
    again = loaded.save(tmp_path / "again")
    for file in ("bundle.json", "estimator.npz", "reference.npz"):
        assert (again / file).read_bytes() == (tmp_path / family / file).read_bytes()


def test_every_older_protocol_has_a_reader():
    assert set(bundle_folder.READERS) == set(range(OLDEST_PROTOCOL, PROTOCOL))
    assert OLDEST_PROTOCOL == 3  # a deployed model is never refused for its age


def test_an_older_protocols_bundle_answers_and_is_saved_unchanged(
    saved: Path, tmp_path: Path, prepared: PreparedTable, monkeypatch: pytest.MonkeyPatch
):
    """As after an upgrade: the program writes protocol 4, whose bundles differ."""
    before = Bundle.load(saved).predict(prepared.columns).probability
    document = json.loads((saved / "bundle.json").read_text())
    assert document["protocol"] == 3
    seen = []

    def read_3(older: dict[str, Any]) -> dict[str, Any]:
        seen.append(older["protocol"])
        return older | {"protocol": 4}

    monkeypatch.setattr(bundle_folder, "PROTOCOL", 4)
    monkeypatch.setattr(bundle_folder, "READERS", {3: read_3})
    bundle = Bundle.load(saved)
    assert bundle.predict(prepared.columns).probability.tobytes() == before.tobytes()
    assert bundle.content_sha256 == document["content_sha256"]
    for number, kept in enumerate((bundle, bundle.with_metadata(metrics={"a": 1}, lineage={}))):
        again = Bundle.load(kept.save(tmp_path / str(number)))
        assert again.content_sha256 == document["content_sha256"]
        assert json.loads((tmp_path / str(number) / "bundle.json").read_text())["protocol"] == 3
    assert (tmp_path / "0/bundle.json").read_bytes() == (saved / "bundle.json").read_bytes()
    assert seen == [3, 3, 3]


def test_a_new_default_of_the_schema_changes_no_bundle_that_exists(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    bundle = Bundle.load(saved)
    dump = Schema.model_dump
    monkeypatch.setattr(Schema, "model_dump", lambda self, **options: dump(self, **options) | {"added": None})
    again = bundle.save(tmp_path / "again")
    assert (again / "bundle.json").read_bytes() == (saved / "bundle.json").read_bytes()


def test_labels_and_units_are_kept_and_their_absence_is_not(saved: Path, tmp_path: Path, prepared: PreparedTable):
    plain = Bundle.load(saved)
    document = json.loads((saved / "bundle.json").read_text())
    assert not any({"label", "unit"} & set(item) for item in (*document["schema"]["columns"], *document["features"]))
    words = {"label": "Talk", "unit": "min"}
    columns = tuple(column.model_copy(update=words) if column.numeric else column for column in plain.schema.columns)
    features = tuple(replace(f, **words) if f.name == "total_charge" else f for f in plain.features)
    labelled = replace(plain, schema=Schema(columns=columns), features=features)
    loaded = Bundle.load(labelled.save(tmp_path / "labelled"))
    assert (loaded.schema, loaded.features) == (labelled.schema, features)
    assert loaded.content_sha256 == labelled.content_sha256 != plain.content_sha256
    assert (
        loaded.predict(prepared.columns).probability.tobytes() == plain.predict(prepared.columns).probability.tobytes()
    )


def test_it_holds_data_only_and_no_customer_but_the_probes(saved: Path):
    assert sorted(path.name for path in saved.iterdir()) == ["bundle.json", "estimator.npz", "reference.npz"]
    document = json.loads((saved / "bundle.json").read_text())
    inputs = {c["name"] for c in document["schema"]["columns"] if c["required"] and c["kind"] != "target"}
    assert set(document["probes"]) == inputs  # no customer_id, state, area code or outcome
    assert {len(values) for values in document["probes"].values()} == {32}
    for file in ("estimator.npz", "reference.npz"):
        with np.load(saved / file, allow_pickle=False) as archive:
            assert not any(archive[name].dtype.hasobject for name in archive.files)


def test_the_content_hash_depends_on_content_and_not_on_metadata(trained: TrainedModels):
    bundle = trained.models["xgboost"].bundle
    assert bundle.with_metadata(metrics={"x": 1}, lineage={"created": "now"}).content_sha256 == bundle.content_sha256
    assert replace(bundle, threshold=0.4).content_sha256 != bundle.content_sha256


def test_nothing_is_overwritten_and_nothing_is_left_half_written(trained: TrainedModels, tmp_path: Path):
    bundle = trained.models["decision_tree"].bundle
    folder = bundle.save(tmp_path / "models/one")
    with pytest.raises(BundleError, match="never overwritten"):
        bundle.save(folder)
    broken = replace(bundle, lineage={"not JSON": object()})
    with pytest.raises(TypeError):
        broken.save(tmp_path / "models/two")
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["one"]


@pytest.mark.parametrize("file", ["bundle.json", "estimator.npz", "reference.npz"])
def test_any_changed_byte_is_refused(copy: Path, file: str, rng: np.random.Generator):
    original = (copy / file).read_bytes()
    for position in rng.integers(0, len(original), size=40):
        data = bytearray(original)
        data[position] ^= 1 << int(rng.integers(0, 8))
        (copy / file).write_bytes(data)
        with pytest.raises(BundleError, match="is refused"):
            Bundle.load(copy)


@pytest.mark.parametrize("change", [b" ", b"\n", b"\0"])
def test_even_white_space_is_a_change(copy: Path, change: bytes):
    (copy / "bundle.json").write_bytes((copy / "bundle.json").read_bytes() + change)
    refuse(copy, "was changed|not JSON")


@pytest.mark.parametrize("file", ["bundle.json", "estimator.npz", "reference.npz"])
def test_a_missing_truncated_or_linked_file_is_refused(copy: Path, tmp_path: Path, file: str):
    data = (copy / file).read_bytes()
    (copy / file).write_bytes(data[: len(data) // 2])
    refuse(copy, "was changed|not JSON")
    (copy / file).unlink()
    refuse(copy, f"{file} is missing")
    (tmp_path / "elsewhere").write_bytes(data)
    (copy / file).symlink_to(tmp_path / "elsewhere")
    refuse(copy, f"{file} is missing")


def test_a_missing_folder_is_refused(tmp_path: Path):
    refuse(tmp_path / "absent", "bundle.json is missing")


def column(document: dict[str, Any], name: str) -> dict[str, Any]:
    return next(c for c in document["schema"]["columns"] if c["name"] == name)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda d: d.update(protocol=5), "protocol 5, but this version of churnops reads up to 4: upgrade"),
        (lambda d: d.update(protocol=2), "protocol 2, but this version of churnops reads 3 and newer: train again"),
        (lambda d: d.update(protocol=0), "names no protocol"),
        (lambda d: d.update(protocol="1"), "names no protocol"),
        (lambda d: d.update(protocol=True), "names no protocol"),
        (lambda d: d.update(format="pickle"), "does not describe a bundle"),
        (lambda d: d["files"].update({"../../etc/passwd": "0" * 64}), "exactly the files"),
        (lambda d: d.update(files={"../estimator.npz": "0" * 64, "reference.npz": "0" * 64}), "exactly the files"),
        (lambda d: d["files"].pop("reference.npz"), "exactly the files"),
        (lambda d: d["estimator"].update(form="pickle"), "unknown form"),
        (lambda d: d["estimator"].update(form=["linear"]), "does not fit together"),
        (lambda d: d["estimator"]["parameters"].update(link="exec"), "base or link"),
        (lambda d: d["estimator"]["parameters"].update(base="0"), "not a finite number"),
        (lambda d: d.update(threshold=1.5), "threshold"),
        (lambda d: d.update(threshold="0.5"), "does not fit together"),
        (lambda d: d["selected"].append("absent"), "does not fit together"),
        (lambda d: d["features"][-1].update(expression="__import__('os')"), "not part of the language"),
        (lambda d: d["features"][-1].update(expression="(" * 500 + "1" + ")" * 400), "does not fit together"),
        (lambda d: d["imputation"].pop("account_length"), "imputation does not cover"),
        (lambda d: d["probes"].pop("account_length"), "probe rows do not fit"),
        (lambda d: d.update(probes={k: v * 40 for k, v in d["probes"].items()}), "probe rows do not fit"),
        (lambda d: d.update(probe_scores=d["probe_scores"][::-1]), "probe rows differ from the saved"),
        (lambda d: d.update(probe_scores=[]), "probe rows differ from the saved"),
        (lambda d: d["schema"]["columns"].pop(), "does not fit together"),
        (lambda d: column(d, "account_length").update(kind="code"), "does not fit together"),
        (lambda d: d["reference"].append("extra"), "reference profile does not cover"),
        (lambda d: d["reference"].remove("churn_probability"), "does not cover"),
        (lambda d: d["reference"].append("churn"), "does not cover"),
        (lambda d: d.pop("linked"), "does not fit together"),
        (lambda d: d.update(linked=[["a", "b"]]), "a linked column is missing"),
        (lambda d: d["linked"].update(total_day_minutes="churn"), "a linked column is missing"),
        (lambda d: d["linked"].update(nothing="total_day_minutes"), "a linked column is missing"),
        (lambda d: d["linked"].update(total_day_minutes="total_day_charge"), "chain"),
        (lambda d: d.update(metrics=[1]), "metrics or lineage"),
        (lambda d: d["imputation"].update(account_length="nan"), "imputation constant"),
        (lambda d: d["imputation"].update(account_length=True), "imputation constant"),
        (lambda d: d.update(algorithm="../x"), "name of its algorithm is not valid"),
        (lambda d: d.pop("imputation"), "does not fit together"),
        (lambda d: d.pop("metrics"), "does not fit together"),
        (lambda d: d.update(algorithm={"a": 1}), "name of its algorithm is not valid"),
    ],
)
def test_a_forged_document_is_refused(copy: Path, change: Callable[[dict[str, Any]], None], reason: str):
    forge(copy, change)
    refuse(copy, reason)


def test_a_forgery_that_changes_nothing_loads(copy: Path):
    """The refusals above are due to the change, not to the way of writing."""
    forge(copy, lambda document: None)
    assert Bundle.load(copy).algorithm == "xgboost"


def first_inner(arrays: dict[str, Any]) -> int:
    return int(np.flatnonzero(arrays["feature"] >= 0)[0])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda a: a["left"].__setitem__(first_inner(a), 10**6), "child points outside"),
        (lambda a: a["right"].__setitem__(first_inner(a), -7), "child points outside"),
        (lambda a: a["left"].__setitem__(first_inner(a), first_inner(a)), "child points outside"),
        (lambda a: a["left"].__setitem__(first_inner(a), int(a["roots"][1])), "child points outside"),
        (lambda a: a["left"].__setitem__(int(np.flatnonzero(a["feature"] < 0)[0]), 0), "child points outside"),
        (lambda a: a["feature"].__setitem__(first_inner(a), 10**6), "feature outside"),
        (lambda a: a["feature"].__setitem__(first_inner(a), -9), "feature outside"),
        (lambda a: a["roots"].__setitem__(-1, 10**9), "root points outside"),
        (lambda a: a["roots"].__setitem__(0, 1), "root points outside"),
        (lambda a: a["value"].__setitem__(0, np.inf), "not finite"),
        (lambda a: a["threshold"].__setitem__(first_inner(a), np.nan), "not finite"),
        (lambda a: a["right"].__setitem__(first_inner(a), int(a["left"][first_inner(a)])), "no parent or several"),
        (lambda a: a["cover"].__setitem__(0, np.nan), "not finite"),
        (lambda a: a["cover"].__setitem__(-1, np.inf), "not finite"),
        (lambda a: a["cover"].__setitem__(-1, 0.0), "not positive"),
        (lambda a: a["cover"].__setitem__(first_inner(a), -1.0), "not positive"),
        (lambda a: a["cover"].__setitem__(int(a["left"][first_inner(a)]), 1e9), "above its parent's"),
        (lambda a: a["cover"].__setitem__(first_inner(a), 1e-9), "above its parent's"),
        (lambda a: a.update(left=a["left"][:-1]), "differ in length"),
        (lambda a: a.update(value=a["value"].astype(np.float32)), "type or length"),
        (lambda a: a.update(value=a["value"].reshape(1, -1)), "type or length"),
        (lambda a: a.update(extra=a["value"]), "exactly the arrays"),
        (lambda a: a.pop("cover"), "exactly the arrays"),
        (lambda a: a.update(roots=a["roots"][:0]), "root points outside"),
    ],
)
def test_forged_arrays_are_refused(copy: Path, change: Callable[[dict[str, Any]], None], reason: str):
    forge_arrays(copy, "estimator.npz", change)
    refuse(copy, reason)


@pytest.mark.parametrize(
    "change",
    [
        lambda a, name: a.update({f"{name}.counts": -a[f"{name}.counts"]}),
        lambda a, name: a.update({f"{name}.counts": a[f"{name}.counts"][:-1]}),
        lambda a, name: a.update({f"{name}.counts": np.full_like(a[f"{name}.counts"], 2**61)}),  # their sum overflows
        lambda a, name: a.update({f"{name}.missing": np.array([-1])}),
        lambda a, name: a.update({f"{name}.missing": np.array([2**63 - 1])}),
        lambda a, name: a.update({f"{name}.points": a[f"{name}.points"][::-1].copy()}),
        lambda a, name: a.update({f"{name}.points": np.array([np.nan]), f"{name}.counts": np.array([0, 9, 0])}),
    ],
)
def test_a_forged_profile_is_refused(copy: Path, change: Callable[[dict[str, Any], str], None]):
    forge_arrays(copy, "reference.npz", lambda a: change(a, "account_length"))
    refuse(copy, "reference profile of account_length")


def test_a_forged_linear_model_is_refused(trained: TrainedModels, tmp_path: Path):
    folder = trained.models["logistic_regression"].bundle.save(tmp_path / "linear")
    forge_arrays(folder, "estimator.npz", lambda a: a.update(coefficients=a["coefficients"][:-1]))
    refuse(folder, "coefficients and")
    forge_arrays(folder, "estimator.npz", lambda a: a.update(coefficients=np.full(a["coefficients"].size + 1, np.nan)))
    refuse(folder, "not finite")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda a: a.update(mean=a["mean"][:-1]), "means for"),
        (lambda a: a["mean"].__setitem__(0, np.inf), "not finite"),
        (lambda a: a.pop("mean"), "exactly the arrays"),
    ],
)
def test_forged_means_are_refused(
    trained: TrainedModels, tmp_path: Path, change: Callable[[dict[str, Any]], None], reason: str
):
    folder = trained.models["logistic_regression"].bundle.save(tmp_path / "linear")
    forge_arrays(folder, "estimator.npz", change)
    refuse(folder, reason)


def test_a_pickle_in_the_archive_is_never_unpickled(copy: Path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was loaded",))

    member = io.BytesIO()
    np.lib.format.write_array(member, np.array([Bomb()], dtype=object), allow_pickle=True)
    forge_member(copy, "value.npy", member.getvalue())
    refuse(copy, "not a plain array|type or length")


def test_a_header_that_claims_too_many_values_is_refused(copy: Path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**13,)})
    forge_member(copy, "value.npy", header.getvalue())
    refuse(copy, "type or length")


def forge_member(folder: Path, name: str, data: bytes) -> None:
    old = zipfile.ZipFile(folder / "estimator.npz")
    members = {info.filename: old.read(info) for info in old.infolist()} | {name: data}
    with zipfile.ZipFile(folder / "estimator.npz", "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    forge(folder, lambda document: None)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_nothing_compressed_is_unpacked(method: int):
    """So a few bytes cannot unpack to more than the memory holds."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("x.npy", bytes(2**20))
    with pytest.raises(BundleError, match="compressed"):
        read_arrays(buffer.getvalue(), {"x": np.float64}, "x.npz")


@pytest.mark.parametrize("header", [b"{'descr': '<f8'", b"\t\n  x", b"lambda: 0", b"((((", b"\x00" * 40])
def test_a_header_that_is_no_header_is_refused(copy: Path, header: bytes):
    data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    forge_member(copy, "value.npy", data)
    refuse(copy, "not a plain array")


def test_a_customer_without_a_required_column_gets_no_score(trained: TrainedModels, prepared: PreparedTable):
    columns = {name: values[:2] for name, values in prepared.columns.items() if name != "account_length"}
    with pytest.raises(DataError, match=r"required column account_length \('Account length'\) is missing"):
        trained.refit.predict(columns)


def test_a_score_that_overflows_is_an_error_not_a_number(trained: TrainedModels, prepared: PreparedTable):
    linear = trained.models["logistic_regression"].bundle
    columns = {name: values[:3].copy() for name, values in prepared.columns.items()}
    columns["total_day_minutes"][1] = np.finfo(np.float64).max
    columns["total_eve_minutes"][1] = -np.finfo(np.float64).max
    with pytest.raises(ChurnopsError, match="row 2 has no score"):
        replace(linear, estimator=replace(linear.estimator, coefficients=np.full(len(linear.selected), 1e9))).predict(
            columns
        )


def test_missing_values_are_imputed_with_the_bundles_constants(trained: TrainedModels, prepared: PreparedTable):
    bundle = trained.refit
    gap = {name: values[:1].copy() for name, values in prepared.columns.items()}
    filled = {name: values.copy() for name, values in gap.items()}
    gap["total_day_minutes"][0] = np.nan
    filled["total_day_minutes"][0] = bundle.imputer.constants["total_day_minutes"]
    assert bundle.predict(gap).probability == bundle.predict(filled).probability
