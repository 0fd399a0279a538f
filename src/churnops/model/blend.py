"""Blend: one or more models, each with its own encoding of the features, added up in log-odds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from churnops.errors import BundleError
from churnops.features.encoding import LOOKED_UP, Encoding, summed_by_owner
from churnops.model.linear import LinearModel, logistic
from churnops.model.trees import TreeEnsemble

MAX_PARTS = 8
FORMS: Mapping[str, type[LinearModel] | type[TreeEnsemble]] = {"linear": LinearModel, "trees": TreeEnsemble}

Matrix = NDArray[np.float64]
Encoded = tuple[NDArray[Any], ...]
"""Feature matrix as the parts of a blend see it, a matrix for each part."""


@dataclass(frozen=True)
class BlendPart:
    """A model of a blend, with its encoding, and the positive weight of its score."""

    encoding: Encoding
    model: LinearModel | TreeEnsemble
    weight: float = 1.0


@dataclass(frozen=True)
class Blend:
    """Score = intercept + Σ weight · score of a part.

    With several parts, the scores are log-odds. A single part may also be a tree or forest, whose score is the
    probability; then the weight is 1 and the intercept 0.
    """

    parts: tuple[BlendPart, ...]
    intercept: float = 0.0

    @property
    def explanation_scale(self) -> Literal["log-odds", "probability"]:
        """Scale of contributions: that of the parts."""
        return self.parts[0].model.explanation_scale

    @property
    def base_value(self) -> float:
        """Weighted average of the parts' base values, plus the intercept."""
        return self.intercept + sum(part.weight * part.model.base_value for part in self.parts)

    def rounded(self, matrix: Matrix) -> Encoded:
        """Encode a feature matrix of shape (n, k) for each part."""
        return tuple(part.model.rounded(part.encoding(matrix)) for part in self.parts)

    def scores(self, matrix: Matrix | Encoded) -> NDArray[np.float64]:
        """Return the scores, shape (n,), on `explanation_scale`."""
        encoded = matrix if isinstance(matrix, tuple) else self.rounded(matrix)
        scores = np.full(encoded[0].shape[0], self.intercept)
        for part, columns in zip(self.parts, encoded, strict=True):
            scores += part.weight * part.model.scores(columns)
        return scores

    def probability(self, matrix: Matrix | Encoded) -> NDArray[np.float64]:
        """Return the probability of churn, shape (n,), for a feature matrix of shape (n, k)."""
        scores = self.scores(matrix)
        if self.explanation_scale == "probability":
            return np.minimum(np.maximum(scores, 0.0), 1.0)
        probability: NDArray[np.float64] = logistic(scores)
        return probability

    def contributions(self, matrix: Matrix | Encoded) -> NDArray[np.float64]:
        """Return SHAP values of the features, shape (n, k); with `base_value` they add up to the score.

        The value of a feature is the sum over its encoded columns and over the parts. Shapley values of a sum of models
        add up (Shapley 1953), so the parts' values may be added.
        """
        encoded = matrix if isinstance(matrix, tuple) else self.rounded(matrix)
        total = np.zeros((encoded[0].shape[0], self.width))
        for part, columns in zip(self.parts, encoded, strict=True):
            contributions = np.ascontiguousarray(part.model.contributions(columns))
            total += part.weight * summed_by_owner(contributions, part.encoding.owner, self.width)
        return total

    def rates(self, feature: int) -> NDArray[np.float64] | None:
        """Return the churn rates by which the model encodes a category; None if no part does.

        The last two are those of missing and of unknown codes. The parts' rates are those of the same rows.
        """
        for part in self.parts:
            encoding = part.encoding
            for column in np.flatnonzero((encoding.owner == feature) & (encoding.kind == LOOKED_UP)):
                table = encoding.table[encoding.start[column] : encoding.start[column + 1]]
                return logistic(table) if isinstance(part.model, LinearModel) else table  # linear: log-odds
        return None

    @property
    def width(self) -> int:
        """Number of features."""
        return self.parts[0].encoding.features

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that `from_arrays` rebuilds the blend from; each name begins with the part's number."""
        return {
            f"{number}.{name}": array
            for number, part in enumerate(self.parts)
            for name, array in {**part.encoding.to_arrays(), **part.model.to_arrays()}.items()
        }

    def parameters(self) -> dict[str, Any]:
        """Return the parameters for `bundle.json`, beside the arrays."""
        parts = [
            {
                "form": next(form for form, cls in FORMS.items() if isinstance(part.model, cls)),
                "weight": part.weight,
                "parameters": part.model.parameters(),
            }
            for part in self.parts
        ]
        return {"intercept": self.intercept, "parts": parts}

    @staticmethod
    def arrays_of(parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Return name and type of the arrays of a blend with these parameters.

        Raises
        ------
        BundleError
            If the parameters are not those of a blend.
        """
        parts = parameters.get("parts")
        if set(parameters) != {"intercept", "parts"} or not isinstance(parts, list) or not 0 < len(parts) <= MAX_PARTS:
            raise BundleError(f"blend: it needs an intercept and 1 to {MAX_PARTS} parts")
        if any(not isinstance(part, dict) or set(part) != {"form", "weight", "parameters"} for part in parts):
            raise BundleError("blend: a part needs form, weight and parameters")
        if any(part["form"] not in FORMS for part in parts):
            raise BundleError("blend: a part has an unknown form")
        return {
            f"{number}.{name}": dtype
            for number, part in enumerate(parts)
            for name, dtype in {**Encoding.arrays, **FORMS[part["form"]].arrays}.items()
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], parameters: Mapping[str, Any], width: int) -> "Blend":
        """Audit and rebuild a blend over `width` features.

        Raises
        ------
        BundleError
            If a part is not valid, a weight is not positive, or the parts' scores have different scales.
        """
        weights: Sequence[Any] = [parameters["intercept"], *(part["weight"] for part in parameters["parts"])]
        if any(not isinstance(number, float) or not isfinite(number) for number in weights) or min(weights[1:]) <= 0.0:
            raise BundleError("blend: the intercept is not finite, or a weight is not positive")
        parts = []
        for number, part in enumerate(parameters["parts"]):
            own = {name: arrays[f"{number}.{name}"] for name in (*Encoding.arrays, *FORMS[part["form"]].arrays)}
            encoding = Encoding.from_arrays({name: own.pop(name) for name in Encoding.arrays}, width)
            model = FORMS[part["form"]].from_arrays(own, part["parameters"], encoding.width)
            parts.append(BlendPart(encoding, model, part["weight"]))
        blend = cls(tuple(parts), parameters["intercept"])
        if {part.model.explanation_scale for part in parts} != {"log-odds"} and weights != [0.0, 1.0]:
            raise BundleError("blend: a score that is a probability can only stand alone")
        return blend
