"""The program that MLflow stores beside a bundle's files and runs to serve them ("models from code")."""

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel

from churnops.data.accepted import Accepted
from churnops.data.read import encode
from churnops.data.unexpected_cells import unknown_columns
from churnops.data.validate import check_customers
from churnops.model import Bundle
from churnops.scoring.customers import as_table


class BundleModel(PythonModel):
    """Checks customers against the Schema and scores them with the bundle."""

    def load_context(self, context: Any) -> None:
        """Load the bundle, with all its checks."""
        self.bundle = Bundle.load(Path(context.artifacts["bundle"]))

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        """Score customers; the columns have the Schema's snake_case names.

        The answers have a column `unknown`, with lists of columns, if a level is unknown.
        """
        schema = self.bundle.schema
        may_lack = Accepted.requests(schema).missing
        customers = check_customers(as_table(model_input, schema), schema, "request", may_lack=may_lack)
        columns = encode(customers, schema)
        scored = self.bundle.predict(columns)
        answers = {
            "churn_probability": scored.probability,
            "churn_prediction": scored.churn,
            "model_version": self.bundle.version_name,
        }
        unknown = unknown_columns(columns, schema)
        return pd.DataFrame(answers | ({"unknown": unknown} if any(unknown) else {}))


set_model(BundleModel())
