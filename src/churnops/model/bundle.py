"""Bundle: a trained model as one folder of data, hashed, and audited before it is rebuilt.

`bundle.json` holds the schema, feature expressions, imputation constants, threshold, probe rows, metrics, lineage and
the SHA-256 of the other files. `estimator.npz` holds the model as plain arrays, `reference.npz` the reference profile.
The same object predicts in the API, in batch scoring, in monitoring and under `mlflow models serve`.
"""

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from churnops.data.preprocess import Imputer
from churnops.data.profile import Profile
from churnops.errors import BundleError, ChurnopsError, DataError
from churnops.features.build import Feature, FeatureMatrix
from churnops.model.arrays import read_arrays, write_arrays
from churnops.model.blend import FORMS, Blend
from churnops.model.bundle_audit import (
    check_values,
    read_imputer,
    read_linked,
    read_probes,
    read_reference,
)
from churnops.model.bundle_folder import (
    ESTIMATOR,
    FORMAT,
    OLDEST_PROTOCOL,
    PROTOCOL,
    REFERENCE,
    canonical,
    content_of,
    newest_form,
    read_document,
    read_files,
    sha256,
    write_folder,
)
from churnops.model.linear import LinearModel
from churnops.model.prediction import BriefExplanation, Explanation, Prediction, by_name, totals
from churnops.model.reference import SCORE, write_profile
from churnops.model.trees import TreeEnsemble
from churnops.schema import Columns, Schema

PROBE_TOLERANCE = 1e-9
"""Largest accepted difference of a probe's score: `exp` may round differently in the libm of another machine."""

Estimator = LinearModel | TreeEnsemble | Blend
_FORMS: Mapping[str, type[LinearModel] | type[TreeEnsemble] | type[Blend]] = {**FORMS, "blend": Blend}


@dataclass(frozen=True)
class Bundle:
    """A model with everything that scoring, checking and monitoring need.

    Attributes
    ----------
    algorithm
        Family: logistic_regression, decision_tree, random_forest, xgboost or blend.
    threshold
        Lowest probability of a customer who is predicted to churn, in (0, 1). See `under_policy`.
    reference
        Profile of the reference rows: inputs, outcomes, and scores (`churn_probability`) by fits not trained on them.
    linked
        Watched columns, each with the column that determines it; see `churnops.data.dependence`.
    probes
        Up to 32 rows without identifiers, as encoded columns. Their scores are saved, and compared on loading.
    metrics
        Results of the evaluation. Not part of `content_sha256`.
    lineage
        Origin of the model: data, hyperparameters, and both fits (the evaluated and the deployed one). Not part of
        `content_sha256`.
    decision_version
        Version of the decision policy in force; 0 if nobody has set one. Never saved.
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
    decision_version: int = 0

    @cached_property
    def matrix(self) -> FeatureMatrix:
        """Function from imputed columns to the feature matrix."""
        return FeatureMatrix(self.schema.model_inputs, self.features, self.selected)

    def predict(self, columns: Columns) -> Prediction:
        """Score customers.

        Parameters
        ----------
        columns
            Encoded columns (see `churnops.schema`), at least the required ones. Other columns are ignored.

        Raises
        ------
        DataError
            If a required column is missing.
        ChurnopsError
            If a score is not finite: values far outside the Schema's ranges can overflow a feature.
        """
        return self._predict(self.feature_matrix(columns))

    def explain(self, columns: Columns) -> Explanation:
        """Score customers and compute each feature's contribution to the score.

        The prediction has the same bits as that of `predict`. A customer's contributions have the same bits alone and
        in a batch. The first call prepares tables, which takes up to 0.1 s and 16 MiB.

        Parameters
        ----------
        columns
            As in `predict`.

        Raises
        ------
        DataError
            If a required column is missing.
        ChurnopsError
            If a score or a contribution is not finite: it is never replaced by 0.
        """
        return self._explain(self.feature_matrix(columns))

    def answer(self, values: Mapping[str, float], count: int = 6) -> BriefExplanation:
        """Score one customer and name the main contributions, with the same bits as `explain` and in less time.

        Parameters
        ----------
        values
            Encoded numbers by column, with every required column.
        count
            Maximum number of contributions.

        Raises
        ------
        ChurnopsError
            As in `explain`.
        """
        row = self.matrix.one(self.imputer.one(values), values if self._keeps_missing else None)
        if isinstance(self.estimator, TreeEnsemble):
            numbers = self.estimator.answer(row, by_name(self.selected), count)
            if numbers is not None and isfinite(numbers[0]) and isfinite(numbers[1]):
                middle = len(numbers) // 2 + 1
                positions = list(map(int, numbers[2:middle]))
                return BriefExplanation(numbers[0], numbers[0] >= self.threshold, positions, numbers[middle:])
        return self._answers(row, count)[0]

    def answers(self, columns: Columns, count: int = 6) -> list[BriefExplanation]:
        """Score customers and name the main contributions of each; raises the same errors as `explain`."""
        return self._answers(self.feature_matrix(columns), count)

    def _answers(self, matrix: NDArray[np.float64], count: int) -> list[BriefExplanation]:
        explanation = self._explain(matrix)
        parts = (
            explanation.prediction.probability,
            explanation.prediction.churn,
            *explanation.top(self.selected, count),
        )
        return list(map(BriefExplanation, *(part.tolist() for part in parts)))

    def _explain(self, matrix: NDArray[np.float64]) -> Explanation:
        rounded: Any = self.estimator.rounded(matrix)  # once, for prediction and contributions
        prediction, contributions = self._predict(rounded), self.estimator.contributions(rounded)
        _check_finite(totals(self.base_value, contributions), "explanation")
        return Explanation(prediction, self.base_value, contributions)

    @property
    def explanation_scale(self) -> Literal["log-odds", "probability"]:
        """Scale of contributions: log-odds (logistic regression, XGBoost) or probability (tree, forest)."""
        return self.estimator.explanation_scale

    @property
    def base_value(self) -> float:
        """Average score of the training rows, on `explanation_scale`.

        For XGBoost, each row is weighted by p (1 - p), because its trees keep only sums of these weights.
        """
        return self.estimator.base_value

    @cached_property
    def level_rates(self) -> Mapping[str, NDArray[np.float64]]:
        """Churn rates by which the model encodes categories with many levels, see `Blend.rates`."""
        if not isinstance(self.estimator, Blend):
            return {}
        rates = {name: self.estimator.rates(place) for place, name in enumerate(self.selected)}
        return {name: table for name, table in rates.items() if table is not None}

    @property
    def _keeps_missing(self) -> bool:
        """Whether the estimator gets missing values: a blend encodes them itself."""
        return isinstance(self.estimator, Blend)

    @property
    def width(self) -> int:
        """Largest number of columns in which a part of the model sees a customer."""
        parts = self.estimator.parts if isinstance(self.estimator, Blend) else ()
        return max(len(self.selected), *(part.encoding.width for part in parts), 1)

    def feature_matrix(self, columns: Columns) -> NDArray[np.float64]:
        """Return the selected features of customers, shape (n, k); raises DataError like `predict`."""
        missing = [name for name in self.imputer.constants if name not in columns]
        if missing:
            raise DataError(f"required column {self.schema.by_name[missing[0]].full_name} is missing")
        return self.matrix(self.imputer(columns), columns if self._keeps_missing else None)

    def _predict(self, matrix: Any) -> Prediction:
        probability = self.estimator.probability(matrix)
        _check_finite(probability, "score")
        return Prediction(probability, probability >= self.threshold)

    @cached_property
    def content_sha256(self) -> str:
        """SHA-256 over everything that decides predictions: all but metrics and lineage."""
        return sha256(canonical(self._content))

    @cached_property
    def version_name(self) -> str:
        """Short name of this content in answers and tables: family and the first 12 digits of the hash."""
        return f"{self.algorithm}-{self.content_sha256[:12]}"

    @cached_property
    def _files(self) -> dict[str, bytes]:
        return {ESTIMATOR: write_arrays(self.estimator.to_arrays()), REFERENCE: write_profile(self.reference)}

    @cached_property
    def _content(self) -> dict[str, Any]:
        form = next(form for form, cls in _FORMS.items() if isinstance(self.estimator, cls))
        probes = {name: [None if np.isnan(v) else float(v) for v in values] for name, values in self.probes.items()}
        return {
            "format": FORMAT,
            "protocol": PROTOCOL if form == "blend" else OLDEST_PROTOCOL,
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
            "files": {name: sha256(data) for name, data in self._files.items()},
        }

    def save(self, folder: Path) -> Path:
        """Write the bundle to a new folder, complete or not at all, and flush it to disk.

        Raises
        ------
        BundleError
            If the folder exists already.
        """
        document = self._content | {
            "content_sha256": self.content_sha256,
            "probe_scores": self.predict(self.probes).probability.tolist(),
            "metrics": dict(self.metrics),
            "lineage": dict(self.lineage),
        }
        write_folder(folder, document, self._files)
        return folder

    @classmethod
    def load(cls, folder: Path) -> "Bundle":
        """Check the protocol and the hashes, rebuild the model, and compare the scores of its probes.

        Raises
        ------
        BundleError
            If a part is missing, changed, forged or newer than this program. The message is one line.
        """
        try:
            folder = folder.resolve()  # all files from one folder, even if a link is swapped meanwhile
        except RuntimeError:
            raise BundleError(f"bundle {folder} is refused: it is a link to itself") from None
        try:
            document = read_document(folder)
            files = read_files(folder, document)
            newest = newest_form(document)
            bundle = cls._rebuild(newest, files)
            bundle._compare_probes(document["probe_scores"])
        except BundleError as error:
            raise BundleError(f"bundle {folder} is refused: {error}") from None
        except (ChurnopsError, KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            reason = " ".join(str(error).split())[:200]
            raise BundleError(f"bundle {folder} is refused: its content does not fit together ({reason})") from None
        # Keep the file's hash and form, also for `save`: an older program may have written an older form, and the
        # journal names the model by the hash of that form.
        bundle.__dict__.update(content_sha256=document["content_sha256"], _content=content_of(document))
        if newest is not document:
            bundle.__dict__["_files"] = files
        return bundle

    @classmethod
    def _rebuild(cls, document: Mapping[str, Any], files: Mapping[str, bytes]) -> "Bundle":
        schema = Schema.model_validate(document["schema"])
        selected, form = tuple(document["selected"]), document["estimator"]["form"]
        if form not in _FORMS:
            raise BundleError(f"its estimator has the unknown form {form!r}")
        check_values(document)
        parameters = document["estimator"]["parameters"]
        expected = Blend.arrays_of(parameters) if form == "blend" else FORMS[form].arrays
        arrays = read_arrays(files[ESTIMATOR], expected, ESTIMATOR)
        return cls(
            schema=schema,
            features=tuple(Feature(**feature) for feature in document["features"]),
            selected=selected,
            imputer=read_imputer(document["imputation"], schema),
            algorithm=document["algorithm"],
            estimator=_FORMS[form].from_arrays(arrays, parameters, len(selected)),
            threshold=document["threshold"],
            reference=read_reference(document["reference"], files[REFERENCE], schema),
            probes=read_probes(document["probes"], schema),
            linked=read_linked(document["linked"], set(document["reference"]) - {schema.target.name, SCORE}),
            metrics=document["metrics"],
            lineage=document["lineage"],
        )

    def _compare_probes(self, expected: list[float]) -> None:
        scores = self.predict(self.probes).probability
        if len(expected) != scores.size or not np.allclose(scores, expected, rtol=0.0, atol=PROBE_TOLERANCE):
            raise BundleError("the scores of its probe rows differ from the saved scores")

    def with_metadata(self, *, metrics: Mapping[str, Any], lineage: Mapping[str, Any]) -> "Bundle":
        """Return the same model, with the same content hash, and add or replace metrics and lineage."""
        bundle = replace(self, metrics={**self.metrics, **metrics}, lineage={**self.lineage, **lineage})
        kept = ("content_sha256", "_content", "_files")
        bundle.__dict__.update({name: self.__dict__[name] for name in kept if name in self.__dict__})
        return bundle

    @property
    def own_threshold(self) -> float:
        """Threshold that the model was trained with, whatever policy is in force."""
        return float(self._content["threshold"])

    def under_policy(self, threshold: float, version: int) -> "Bundle":
        """Return the same model with the threshold and the version of a decision policy.

        Its scores, content hash and name are the same, and `save` writes its own threshold.
        """
        _ = self.content_sha256  # of the own threshold; the copy keeps it
        bundle = copy(self)
        bundle.__dict__.update(threshold=threshold, decision_version=version)
        return bundle


def _check_finite(numbers: NDArray[np.float64], name: str) -> None:
    if numbers.size == 1 and isfinite(numbers[0]):  # one customer: NumPy takes ten times as long
        return
    finite = np.isfinite(numbers)
    if not finite.all():
        row = int(np.flatnonzero(~finite)[0])
        raise ChurnopsError(f"row {row + 1} has no {name}: a value is so large that a feature overflows")
