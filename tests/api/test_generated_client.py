"""A client that openapi-python-client makes from the document predicts with a running service."""

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from churnops.pipelines.run_all import RunSummary
from churnops.settings import Settings
from tests.support.api import a_customer, make_key
from tests.support.projects import deployed
from tests.support.serving import Server

NAME = "churn_client_of_the_test"


class GeneratedClient:
    """The modules of a generated client, by their names, and a connection with an API key."""

    def __init__(self, port: int, key: str) -> None:
        self.models = self.module("models")
        client = self.module("client").AuthenticatedClient
        self.connection = client(base_url=f"http://127.0.0.1:{port}", token=key)

    def module(self, name: str) -> ModuleType:
        return importlib.import_module(f"{NAME}.{name}")

    def ask(self, operation: str, *arguments: Any, **named: Any) -> Any:
        """Return the answer of an operation such as `predictions.predict`."""
        return self.module(f"api.{operation}").sync(*arguments, client=self.connection, **named)

    def customer(self, **changes: Any) -> Any:
        return self.models.Customer.from_dict(a_customer(**changes))


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, project: tuple[Settings, RunSummary]) -> Iterator[GeneratedClient]:
    settings = deployed(tmp_path_factory.mktemp("generated"), project[0])
    key = make_key(settings, "admin")
    folder = settings.root / "clients"
    with Server(settings) as server:
        (settings.root / "openapi.json").write_bytes(server.get("/openapi.json").body)
        output = generate(settings.root / "openapi.json", folder / NAME)
        # It can send no files; their media types are all that it does not understand.
        assert output.count("WARNING") == output.count("Unsupported content type") == 3, output
        sys.path.insert(0, str(folder))
        try:
            client = GeneratedClient(server.port, key)
            with client.connection:
                yield client
        finally:
            sys.path.remove(str(folder))
            for name in [name for name in sys.modules if name.partition(".")[0] == NAME]:
                del sys.modules[name]


def generate(document: Path, folder: Path) -> str:
    """Generate a client, and return the generator's output; the code is not formatted."""
    folder.parent.mkdir(exist_ok=True)
    (document.parent / "generator.json").write_text(json.dumps({"post_hooks": []}))
    command = [sys.executable, "-m", "openapi_python_client", "generate", "--path", document, "--meta", "none"]
    command += ["--output-path", folder, "--config", document.parent / "generator.json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_it_predicts_a_customer_that_is_made_of_its_types(client: GeneratedClient):
    models = client.models
    fields = a_customer(international_plan=models.CustomerInternationalPlan.NO)
    fields |= {"voice_mail_plan": models.CustomerVoiceMailPlan.YES}
    answer = client.ask("predictions.predict", body=models.Customer(**fields))
    assert isinstance(answer, models.PredictionAnswer)
    assert 0.0 < answer.churn_probability < 1.0
    assert len(answer.top_shap_features) == 6
    recorded = client.ask("predictions.get_prediction", answer.prediction_id)
    assert recorded.inputs.to_dict() == {name: value for name, value in a_customer().items() if name != "customer_id"}
    assert recorded.churn_probability == answer.churn_probability


def test_it_predicts_a_list_and_a_probe(client: GeneratedClient):
    customers = [client.customer(customer_id=f"C-{n}", customer_service_calls=n) for n in range(5)]
    answers = client.ask("predictions.predict_batch", body=customers)
    probes = client.ask("predictions.predict_probe", body=customers)
    assert [type(answer) for answer in answers] == [client.models.PredictionAnswer] * 5
    assert [type(answer) for answer in probes] == [client.models.ProbeAnswer] * 5
    assert [probe.churn_probability for probe in probes] == [answer.churn_probability for answer in answers]
    assert len({answer.churn_probability for answer in answers}) > 1


def test_it_sends_outcomes_of_a_prediction_and_of_customers(client: GeneratedClient):
    label = client.models.Label
    prediction = client.ask("predictions.predict", body=client.customer(customer_id="C-7"))
    one = client.ask("outcomes.record_outcomes", body=label(True, prediction_id=prediction.prediction_id))
    several = [label(False, customer_id="C-7"), label(True, customer_id="C-8")]
    counts = client.ask("outcomes.record_outcomes", body=several)
    assert (one.recorded, counts.recorded, counts.unmatched) == (1, 2, 1)
    assert client.ask("predictions.get_prediction", prediction.prediction_id).outcome.churned is True


def test_it_reads_warnings_and_errors(client: GeneratedClient):
    answer = client.ask("predictions.predict", body=client.customer(total_day_charge=4.0))
    (warning,) = answer.warnings
    assert warning.startswith("total_day_charge ('Total day charge') contradicts total_day_minutes")
    problem = client.ask("predictions.predict", body=client.customer(account_length=0))
    assert isinstance(problem, client.models.ProblemBody)
    assert problem.status == 422
    assert [error.field for error in problem.errors] == ["account_length"]


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        ("service.check_live", "status"),
        ("service.check_ready", "model_version"),
        ("service.get_index", "documentation"),
        ("model.get_model", "algorithm"),
        ("model.reload_model", "model_version"),
    ],
)
def test_it_reads_the_model_and_the_state_of_the_service(client: GeneratedClient, operation: str, expected: str):
    assert getattr(client.ask(operation), expected)


def test_it_reads_metrics(client: GeneratedClient):
    assert "churnops_predictions_total" in client.ask("service.get_metrics")
