"""The program that MLflow stores beside a bundle's files and runs to serve them ("models from code")."""

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel

from churnops.data.read import encode
from churnops.data.validate import check_customers
from churnops.model import Bundle
from churnops.scoring.customers import as_table


class BundleModel(PythonModel):
    """Checks customers against the Schema and scores them with the bundle."""

    def load_context(self, context: Any) -> None:
        """Load the bundle, with all its checks."""
        self.bundle = Bundle.load(Path(context.artifacts["bundle"]))

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        """Score customers; the columns have the Schema's snake_case names."""
        schema = self.bundle.schema
        customers = check_customers(as_table(model_input, schema), schema, "request")
        scored = self.bundle.predict(encode(customers, schema))
        return pd.DataFrame(
            {
                "churn_probability": scored.probability,
                "churn_prediction": scored.churn,
                "model_version": self.bundle.version_name,
            }
        )


set_model(BundleModel())
