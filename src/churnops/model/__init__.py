"""The Bundle, and the model in it as plain arrays.

Light to import and safe to load: no pickle, no table library, neither scikit-learn nor XGBoost.
"""

from churnops.model.bundle import Bundle
from churnops.model.bundle_folder import PROTOCOL
from churnops.model.linear import LinearModel
from churnops.model.prediction import Explanation, Prediction
from churnops.model.trees import TreeEnsemble

__all__ = ["PROTOCOL", "Bundle", "Explanation", "LinearModel", "Prediction", "TreeEnsemble"]
