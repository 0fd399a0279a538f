"""Features: one engine computes them for one customer and for a million, in training and serving."""

from churnops.features.build import Feature, FeatureMatrix, all_features
from churnops.features.expressions import compile_expression

__all__ = ["Feature", "FeatureMatrix", "all_features", "compile_expression"]
