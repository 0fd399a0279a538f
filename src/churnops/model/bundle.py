"""Bundle: one folder that is the deployed model, data only, hashed, audited before it is rebuilt.

`bundle.json` holds the schema, feature expressions, imputation constants, threshold, probe rows, metrics, lineage
and the SHA-256 of every other file; `estimator.npz` the model as plain arrays; `reference.npz` the reference
profile. The same object answers in the API, in batch scoring, in monitoring and under `mlflow models serve`.
"""

import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from churnops.data.preprocess import Imputer
from churnops.data.profile import ColumnProfile, Profile
from churnops.errors import BundleError, ChurnopsError, DataError
from churnops.features.build import Feature, FeatureMatrix
from churnops.files import fsync_folder
from churnops.model.arrays import read_arrays, write_arrays
from churnops.model.linear import LinearModel
from churnops.model.prediction import Explanation, Prediction, totals
from churnops.model.trees import TreeEnsemble
from churnops.schema import Columns, Schema

FORMAT = "churnops-bundle"
PROTOCOL = 3
"""Form that is written. Raise it with a reader of the form before: no deployed model is refused for its age."""
OLDEST_PROTOCOL = 3
READERS: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""By older protocol, a function from a document of that form, whose hashes are checked, to one of the next form."""
DOCUMENT, ESTIMATOR, REFERENCE = "bundle.json", "estimator.npz", "reference.npz"
SCORE = "churn_probability"
OUTSIDE_CONTENT = ("content_sha256", "document_sha256", "probe_scores", "metrics", "lineage")
MAX_PROBES = 32
MAX_ROWS = 2.0**62  # of a profile: sums of counts stay far from where int64 ends
MAX_DOCUMENT_BYTES = 16 * 2**20
MAX_DOCUMENT_VALUES = 2**21
"""Commas and brackets in `bundle.json`: 10,000 columns with 32 probe rows have about 500,000."""
# Probes are compared this closely: the same arithmetic, but `exp` may round differently in another machine's libm.
PROBE_TOLERANCE = 1e-9

Estimator = LinearModel | TreeEnsemble
_FORMS: Mapping[str, type[LinearModel] | type[TreeEnsemble]] = {"linear": LinearModel, "trees": TreeEnsemble}
_PROFILE_ARRAYS: Mapping[str, Any] = {"points": np.float64, "counts": np.int64, "missing": np.int64}


@dataclass(frozen=True)
class Bundle:
    """A model with everything it needs to answer, to be checked, and to be watched.

    Attributes
    ----------
    algorithm
        Family: logistic_regression, decision_tree, random_forest or xgboost.
    threshold
        Probability from which a customer is predicted to churn.
    reference
        Profile of the training rows and, under `churn_probability`, of their out-of-fold scores.
    linked
        Watched columns that another one determines, and that one; see `churnops.data.dependence`.
    probes
        Up to 32 rows without identifiers, as encoded columns; their scores are kept and compared on loading.
    metrics, lineage
        What evaluation found, and where the model comes from: data, both fits (the evaluated and the deployed one),
        hyper-parameters. Not part of `content_sha256`.
    """

    schema: Schema
    features: tuple[Feature, ...]
    selected: tuple[str, ...]
    imputer: Imputer
    algorithm: str
    estimator: Estimator
    threshold: float
    reference: Profile
    probes: Columns
    linked: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    lineage: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def matrix(self) -> FeatureMatrix:
        """Builds the feature matrix from imputed columns."""
        return FeatureMatrix(self.schema.model_inputs, self.features, self.selected)

    def predict(self, columns: Columns) -> Prediction:
        """Score customers.

        Parameters
        ----------
        columns
            Encoded columns (see `churnops.schema`), at least the required ones; others are ignored.

        Raises
        ------
        DataError
            If a required column is missing.
        ChurnopsError
            If a score is not a number: values far outside the Schema's ranges can overflow a feature.
        """
        return self._predict(self._features(columns))

    def explain(self, columns: Columns) -> Explanation:
        """Score customers and say what each feature contributes; features are computed once.

        The prediction has the same bits as that of `predict`, and a customer's contributions have the same bits alone
        and in a batch. What the first call works out takes up to 0.1 s and 16 MiB.

        Parameters
        ----------
        columns
            As for `predict`.

        Raises
        ------
        DataError
            If a required column is missing.
        ChurnopsError
            If a score or a contribution is not a number: it is never replaced by 0.
        """
        return self._explain(self._features(columns))

    def explain_one(self, values: Mapping[str, float]) -> Explanation:
        """Explain one customer, given as encoded numbers with every required column: same bits, less time.

        Raises
        ------
        ChurnopsError
            As `explain`.
        """
        return self._explain(self.matrix.one(self.imputer.one(values)))

    def _explain(self, matrix: NDArray[np.float64]) -> Explanation:
        rounded = self.estimator.rounded(matrix)  # once, for both
        prediction, contributions = self._predict(rounded), self.estimator.contributions(rounded)
        _check_finite(totals(self.base_value, contributions), "explanation")
        return Explanation(prediction, self.base_value, contributions)

    @property
    def explanation_scale(self) -> Literal["log-odds", "probability"]:
        """What an explanation adds up to: log-odds (logistic regression, XGBoost) or probability (tree, forest)."""
        return self.estimator.explanation_scale

    @property
    def base_value(self) -> float:
        """What the model gives on average over its training rows, on `explanation_scale`.

        XGBoost's trees know of their training rows only the sum of p (1 - p), so its average counts a row by that.
        """
        return self.estimator.base_value

    def _features(self, columns: Columns) -> NDArray[np.float64]:
        missing = [name for name in self.imputer.constants if name not in columns]
        if missing:
            raise DataError(f"required column {self.schema.by_name[missing[0]].full_name} is missing")
        return self.matrix(self.imputer(columns))

    def _predict(self, matrix: NDArray[np.float64] | NDArray[np.float32]) -> Prediction:
        probability = self.estimator.probability(matrix)
        _check_finite(probability, "score")
        return Prediction(probability, probability >= self.threshold)

    @cached_property
    def content_sha256(self) -> str:
        """SHA-256 over what decides the answers: everything but metrics, lineage and time stamps."""
        return _sha256(_canonical(self._content))

    @cached_property
    def version_name(self) -> str:
        """Short name of this content, in answers and tables: family and the first 12 digits of the hash."""
        return f"{self.algorithm}-{self.content_sha256[:12]}"

    @cached_property
    def _files(self) -> dict[str, bytes]:
        profile = {
            f"{name}.{part}": np.asarray(getattr(column, part), dtype).reshape(-1)
            for name, column in self.reference.items()
            for part, dtype in _PROFILE_ARRAYS.items()
        }
        return {ESTIMATOR: write_arrays(self.estimator.to_arrays()), REFERENCE: write_arrays(profile)}

    @cached_property
    def _content(self) -> dict[str, Any]:
        form = next(form for form, cls in _FORMS.items() if isinstance(self.estimator, cls))
        probes = {name: [None if np.isnan(v) else float(v) for v in values] for name, values in self.probes.items()}
        return {
            "format": FORMAT,
            "protocol": PROTOCOL,
            "schema": self.schema.model_dump(mode="json"),
            "features": [feature.to_json() for feature in self.features],
            "selected": list(self.selected),
            "imputation": dict(self.imputer.constants),
            "algorithm": self.algorithm,
            "estimator": {"form": form, "parameters": self.estimator.parameters()},
            "threshold": self.threshold,
            "reference": list(self.reference),
            "linked": dict(self.linked),
            "probes": probes,
            "files": {name: _sha256(data) for name, data in self._files.items()},
        }

    def save(self, folder: Path) -> Path:
        """Write the bundle to a new folder, all of it or nothing, flushed to disk.

        Raises
        ------
        BundleError
            If the folder exists already.
        """
        if folder.exists():
            raise BundleError(f"{folder} exists already: a bundle is never overwritten")
        document = self._content | {
            "content_sha256": self.content_sha256,
            "probe_scores": self.predict(self.probes).probability.tolist(),
            "metrics": dict(self.metrics),
            "lineage": dict(self.lineage),
        }
        document["document_sha256"] = _sha256(_canonical(document))
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = folder.parent / f".unfinished-{secrets.token_hex(8)}"
        unfinished.mkdir()
        try:
            for name, data in {**self._files, DOCUMENT: _canonical(document)}.items():
                with (unfinished / name).open("wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
            unfinished.rename(folder)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        fsync_folder(folder)
        fsync_folder(folder.parent)
        return folder

    @classmethod
    def load(cls, folder: Path) -> "Bundle":
        """Check the protocol version, then hashes, then rebuild, then score the probes and compare.

        Raises
        ------
        BundleError
            If anything is missing, changed, forged or newer than this program, in one line.
        """
        try:
            folder = folder.resolve()  # a link may be swapped meanwhile: all files from one folder
        except RuntimeError:
            raise BundleError(f"bundle {folder} is refused: it is a link to itself") from None
        try:
            document = _read_document(folder)
            files = _read_files(folder, document)
            bundle = cls._rebuild(_newest_form(document), files)
            bundle._compare_probes(document["probe_scores"])
        except BundleError as error:
            raise BundleError(f"bundle {folder} is refused: {error}") from None
        except (ChurnopsError, KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            reason = " ".join(str(error).split())[:200]
            raise BundleError(f"bundle {folder} is refused: its content does not fit together ({reason})") from None
        # It keeps the hash and the form that it was made with, and is saved as it was read: an older program wrote the
        # same content differently, and the journal knows the model by that hash.
        content = {name: value for name, value in document.items() if name not in OUTSIDE_CONTENT}
        bundle.__dict__.update(content_sha256=document["content_sha256"], _content=content)
        if document["protocol"] != PROTOCOL:
            bundle.__dict__["_files"] = files
        return bundle

    @classmethod
    def _rebuild(cls, document: Mapping[str, Any], files: Mapping[str, bytes]) -> "Bundle":
        schema = Schema.model_validate(document["schema"])
        features = tuple(Feature(**feature) for feature in document["features"])
        selected = tuple(document["selected"])
        form = document["estimator"]["form"]
        if form not in _FORMS:
            raise BundleError(f"its estimator has the unknown form {form!r}")
        model = _FORMS[form]
        arrays = read_arrays(files[ESTIMATOR], model.arrays, ESTIMATOR)
        inputs = {column.name for column in schema.model_inputs}
        names = document["reference"]
        needed = {*inputs, schema.target.name, SCORE}
        if len(set(names)) != len(names) or not needed <= set(names) <= needed | {c.name for c in schema.inputs}:
            raise BundleError("its reference profile does not cover the inputs, the outcome and the score")
        linked = _linked(document["linked"], set(names) - {schema.target.name, SCORE})
        expected = {f"{name}.{part}": dtype for name in names for part, dtype in _PROFILE_ARRAYS.items()}
        profile = read_arrays(files[REFERENCE], expected, REFERENCE)
        if not isinstance(document["metrics"], dict) or not isinstance(document["lineage"], dict):
            raise BundleError("its metrics or lineage are not a table of names")
        if set(document["imputation"]) != inputs:
            raise BundleError("its imputation does not cover the model's input columns")
        probes = {
            name: np.array([np.nan if v is None else v for v in values], dtype=np.float64)
            for name, values in document["probes"].items()
        }
        if set(probes) != inputs or not {len(v) for v in probes.values()} <= set(range(1, MAX_PROBES + 1)):
            raise BundleError("its probe rows do not fit its schema")
        if not isinstance(document["algorithm"], str) or not re.fullmatch("[a-z_]{1,40}", document["algorithm"]):
            raise BundleError("its algorithm has no name")
        constants = document["imputation"].values()
        if not all(type(value) in (int, float) and np.isfinite(value) for value in constants):
            raise BundleError("an imputation constant is not a finite number")
        if not 0.0 < document["threshold"] < 1.0:
            raise BundleError("its threshold is not between 0 and 1")
        return cls(
            schema=schema,
            features=features,
            selected=selected,
            imputer=Imputer({c.name: float(document["imputation"][c.name]) for c in schema.model_inputs}),
            algorithm=document["algorithm"],
            estimator=model.from_arrays(arrays, document["estimator"]["parameters"], len(selected)),
            threshold=document["threshold"],
            reference={name: _profile(profile, name) for name in names},
            probes=probes,
            linked=linked,
            metrics=document["metrics"],
            lineage=document["lineage"],
        )

    def _compare_probes(self, expected: list[float]) -> None:
        scores = self.predict(self.probes).probability
        if len(expected) != scores.size or not np.allclose(scores, expected, rtol=0.0, atol=PROBE_TOLERANCE):
            raise BundleError("its probe rows do not score as they did when it was made")

    def with_metadata(self, *, metrics: Mapping[str, Any], lineage: Mapping[str, Any]) -> "Bundle":
        """Return the same model with metrics and lineage added to what it has; the content hash stays."""
        bundle = replace(self, metrics={**self.metrics, **metrics}, lineage={**self.lineage, **lineage})
        kept = ("content_sha256", "_content", "_files")
        bundle.__dict__.update({name: self.__dict__[name] for name in kept if name in self.__dict__})
        return bundle


def _linked(linked: Any, watched: Set[str]) -> dict[str, str]:
    """Return columns with the columns that determine them, if all are watched and none determines another in turn."""
    if not isinstance(linked, dict) or not {*linked, *linked.values()} <= watched:
        raise BundleError("its linked columns are not columns that it watches")
    if set(linked) & set(linked.values()):
        raise BundleError("its linked columns form a chain")
    return linked


def _check_finite(numbers: NDArray[np.float64], what: str) -> None:
    if numbers.size == 1 and isfinite(numbers[0]):  # one customer: NumPy would take ten times as long
        return
    finite = np.isfinite(numbers)
    if not finite.all():
        row = int(np.flatnonzero(~finite)[0])
        raise ChurnopsError(f"row {row + 1} has no {what}: a value is so large that a feature overflows")


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _canonical(document: Mapping[str, Any]) -> bytes:
    text = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode()


def _read_bytes(folder: Path, name: str, limit: int) -> bytes:
    path = folder / name
    if path.is_symlink() or not path.is_file():
        raise BundleError(f"{name} is missing")
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise BundleError(f"{name} is larger than {limit >> 20} MiB")
    return data


def _read_document(folder: Path) -> dict[str, Any]:
    data = _read_bytes(folder, DOCUMENT, MAX_DOCUMENT_BYTES)
    if sum(map(data.count, (b",", b"[", b"{"))) > MAX_DOCUMENT_VALUES:
        raise BundleError(f"{DOCUMENT} holds more than {MAX_DOCUMENT_VALUES} values")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        raise BundleError(f"{DOCUMENT} is not JSON") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise BundleError(f"{DOCUMENT} does not describe a bundle")
    protocol = document.get("protocol")
    if type(protocol) is not int or protocol < 1:
        raise BundleError(f"{DOCUMENT} names no protocol")
    if protocol > PROTOCOL:
        raise BundleError(f"it has protocol {protocol}, this churnops reads {PROTOCOL}: upgrade churnops")
    if protocol < OLDEST_PROTOCOL:
        raise BundleError(
            f"it has protocol {protocol}, this churnops reads {OLDEST_PROTOCOL} and newer: "
            "train again with `churnops run --deploy`"
        )
    unhashed = {name: value for name, value in document.items() if name != "document_sha256"}
    content = {name: value for name, value in unhashed.items() if name not in OUTSIDE_CONTENT}
    # Comparing the bytes as well leaves no room for a change that means the same, such as a space.
    if (
        document.get("document_sha256") != _sha256(_canonical(unhashed))
        or document.get("content_sha256") != _sha256(_canonical(content))
        or data != _canonical(document)
    ):
        raise BundleError(f"{DOCUMENT} was changed: its hash differs")
    return document


def _newest_form(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document in the form of `PROTOCOL`."""
    for protocol in range(document["protocol"], PROTOCOL):
        document = READERS[protocol](document)
    return document


def _read_files(folder: Path, document: Mapping[str, Any]) -> dict[str, bytes]:
    hashes = document["files"]
    if not isinstance(hashes, dict) or set(hashes) != {ESTIMATOR, REFERENCE}:
        raise BundleError(f"it must name exactly the files {ESTIMATOR} and {REFERENCE}")
    files = {}
    for name in (ESTIMATOR, REFERENCE):
        files[name] = _read_bytes(folder, name, limit=2**30)
        if _sha256(files[name]) != hashes[name]:
            raise BundleError(f"{name} was changed: its hash differs")
    return files


def _profile(arrays: Mapping[str, NDArray[Any]], name: str) -> ColumnProfile:
    points, counts, missing = (arrays[f"{name}.{part}"] for part in _PROFILE_ARRAYS)
    if (
        counts.size != 2 * points.size + 1
        or missing.size != 1
        or np.isnan(points).any()
        or not (np.diff(points) > 0).all()
        or (counts < 0).any()
        or missing[0] < 0
        or counts.sum(dtype=np.float64) + missing[0] > MAX_ROWS
    ):
        raise BundleError(f"the reference profile of {name} is not one")
    return ColumnProfile(points, counts, int(missing[0]))
