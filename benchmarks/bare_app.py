"""Bare app, the upper limit for an API: FastAPI with our request and response models, and no model behind them."""

from pathlib import Path

from fastapi import FastAPI

from churnops.api.customers import CustomerForm
from churnops.settings import load_settings
from churnops.wire import PredictionAnswer, ShapFeature

Customer = CustomerForm(load_settings(Path(__file__).parents[1] / "config.yaml").table).model
ANSWER = PredictionAnswer(
    prediction_id="0193575c-4a6f-7c3e-9d52-1f6b0a7c8d9e",
    churn_probability=0.0312345678,
    churn_prediction=False,
    base_value=0.1449144914,
    explanation_scale="probability",
    model_version="random_forest-891fc62fdb67",
    top_shap_features=[ShapFeature(feature=f"customer_service_{i}", shap_value=0.0123456789 * i) for i in range(6)],
)
app = FastAPI()


@app.post("/predict")
async def predict(customer: Customer) -> PredictionAnswer:
    return ANSWER
