"""What can be set: the sections, their names, ranges and defaults, and how a wrong one is told."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    Strict,
    StringConstraints,
    ValidationError,
    field_validator,
)
from pydantic_core import ErrorDetails

from churnops.address import split_address
from churnops.errors import SettingsError, redact
from churnops.schema import Name, Schema, nearest

ENV_PREFIX = "CHURNOPS_"
ENV_ALERT_URLS = "CHURNOPS_ALERTS__URLS"
ENV_CHECK_KEY = "CHURNOPS_RETRAINING__CHECK_KEY"
ENV_DASHBOARD_KEY = "CHURNOPS_DASHBOARD__API_KEY"
SECRETS = {
    ("alerts", "urls"): ENV_ALERT_URLS,
    ("retraining", "check_key"): ENV_CHECK_KEY,
    ("dashboard", "api_key"): ENV_DASHBOARD_KEY,
}
"""Settings that come from the environment only, and the variables that hold them."""

Probability = Annotated[float, Field(gt=0.0, lt=1.0)]
Family = Literal["logistic_regression", "decision_tree", "random_forest", "xgboost"]
GateMetric = Literal["roc_auc", "average_precision", "log_loss"]
FAMILIES: tuple[Family, ...] = ("logistic_regression", "decision_tree", "random_forest", "xgboost")
LIVE = "live"
"""Name of the source of what the API answers; the others are files."""
RESERVED_SOURCES = (LIVE, "file", "simulation")
"""Names of sources that `data.batches` and `--source` cannot use."""
DEMONSTRATION = "Demonstration: simulated customers count as production in this project."
"""Sentence that every page, report and alert of a project with `demonstration: true` shows."""


def _not_reserved(name: str) -> str:
    if name in RESERVED_SOURCES:
        raise ValueError(f"'{name}' is a source of churnops itself: choose another name")
    return name


SourceName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{1,64}$"), AfterValidator(_not_reserved)]
"""Name of a source of customers that are scored by file."""


def _always(value: Any) -> Any:
    """Read YAML's `true` as "always"; there is no setting by which a key is never needed."""
    if value is False or value in ("never", "no", "off"):
        raise ValueError("a key cannot be made unnecessary: auto needs none on this machine while none was ever made")
    return "always" if value is True else value


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataSettings(_Section):
    """Where the tables are: files or folders of CSV and Parquet.

    `batches` are those of customers who are scored by file, by the name of their source: `churnops monitor --batch`
    acts on a file in one of them.
    """

    raw: Annotated[tuple[str, ...], Field(min_length=1)] = ("data/raw",)
    production: tuple[str, ...] = ("data/production",)
    batches: Mapping[SourceName, str] = Field(default={})


class DerivedFeature(_Section):
    """A column computed from the customer's own row; see `churnops.features.expressions` for the language."""

    name: Name
    expression: Annotated[str, Field(min_length=1, max_length=1000)]
    description: str = ""


class FeatureSettings(_Section):
    """Derived columns, and when a feature is left out of the models."""

    derived: tuple[DerivedFeature, ...] = ()
    exclude: tuple[str, ...] = ()
    max_correlation: Annotated[float, Field(gt=0.0, le=1.0)] = 0.9999


class TrainingSettings(_Section):
    """Which families are searched, how far, and what decides between them."""

    families: Annotated[tuple[Family, ...], Field(min_length=1)] = FAMILIES
    trials: Mapping[Family, Annotated[int, Field(ge=1, le=1000)]] = Field(
        default={"logistic_regression": 6, "decision_tree": 8, "random_forest": 6, "xgboost": 12}
    )
    folds: Annotated[int, Field(ge=2, le=20)] = 5
    selection_metric: Literal["log_loss", "brier", "roc_auc", "average_precision"] = "log_loss"
    threads: Annotated[int, Field(ge=1, le=256)] = 2


class EvaluationSettings(_Section):
    """How a model is judged on rows that nothing was fitted on."""

    holdout_fraction: Annotated[float, Field(ge=0.05, le=0.5)] = 0.2
    threshold: Probability = 0.5
    confidence: Probability = 0.95
    bootstrap_replicates: Annotated[int, Field(ge=100, le=100_000)] = 1000


class MonitoringSettings(_Section):
    """When a model in production is called worse, or its customers different."""

    performance_threshold: Annotated[float, Field(ge=0.0, le=1.0)] = 0.75
    drift_threshold: Probability = 0.05
    drift_rate_threshold: Annotated[float, Field(ge=0.0, le=1.0)] = 0.30
    max_decline: Annotated[float, Field(gt=0.0, le=1.0)] = 0.10
    correction: Literal["benjamini_hochberg", "none"] = "benjamini_hochberg"
    min_distance: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.08
    min_psi: Annotated[float, Field(ge=0.0)] = 0.1
    false_alarm_budget: Probability = 0.05
    window_days: Annotated[float, Field(gt=0.0, le=3650.0)] = 7
    recipe_columns: tuple[str, ...] = ()
    directory: str = "monitoring"


class AlertSettings(_Section):
    """Who is told. The channels are secrets, and come from the variable `CHURNOPS_ALERTS__URLS` only."""

    urls: tuple[str, ...] = Field(default=(), repr=False, exclude=True)
    link: str = ""
    repeat_hours: Annotated[float, Field(ge=0.0, le=8760.0)] = 24
    attempts: Annotated[int, Field(ge=1, le=10)] = 3
    timeout_seconds: Annotated[float, Field(gt=0.0, le=300.0)] = 10


class RetrainingSettings(_Section):
    """When a new model may be trained, from which rows, and how much better it must be.

    `min_improvement` is ROC-AUC; the other metrics have one of their own. Without a `confidence` the gain alone
    decides. The API key for `check_url` is a secret, and comes from the variable `CHURNOPS_RETRAINING__CHECK_KEY` only.
    """

    automatic: bool = True
    retraining_cooldown_days: Annotated[float, Field(ge=0.0, le=36_500.0)] = 0
    every_days: Annotated[float, Field(ge=0.0, le=36_500.0)] = 0
    min_new_labels: Annotated[int, Field(ge=1)] = 500
    families: Annotated[tuple[Family, ...], Field(min_length=1)] = ("random_forest", "xgboost")
    history_days: Annotated[float, Field(gt=0.0, le=36_500.0)] = 365
    holdout_rows: Annotated[int, Field(ge=50)] = 300
    recent_fraction: Annotated[float, Field(gt=0.0, le=1.0)] = 0.25
    threads: Annotated[int, Field(ge=1, le=256)] = 2
    metric: GateMetric = "roc_auc"
    min_improvement: Annotated[float, Field(ge=0.0, le=1.0)] = 0.01
    min_improvement_average_precision: Annotated[float, Field(ge=0.0, le=1.0)] = 0.02
    min_improvement_log_loss: Annotated[float, Field(ge=0.0)] = 0.005
    confidence: Probability | None = 0.95
    max_log_loss_increase: Annotated[float, Field(ge=0.0)] = 0.01
    max_calibration_error_increase: Annotated[float, Field(ge=0.0, le=1.0)] = 0.02
    check_url: str = ""
    check_key: str = Field(default="", repr=False, exclude=True)
    check_seconds: Annotated[float, Field(gt=0.0, le=600.0)] = 20

    @field_validator("check_url")
    @classmethod
    def _web_address(cls, url: str) -> str:
        if url:
            split_address(url)
        return url

    @property
    def improvement(self) -> float:
        """Gain that `metric` must have."""
        return {
            "roc_auc": self.min_improvement,
            "average_precision": self.min_improvement_average_precision,
            "log_loss": self.min_improvement_log_loss,
        }[self.metric]


class RegistrySettings(_Section):
    """Where model versions and the deployed model are kept."""

    model_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")] = "churn"
    directory: str = "models"


class TrackingSettings(_Section):
    """The MLflow store; `MLFLOW_TRACKING_URI`, where set, wins."""

    uri: str = "sqlite:///mlflow.db"
    artifacts: str = "mlartifacts"


class JournalSettings(_Section):
    """The journal's database, by SQLAlchemy URL, and what is kept in it."""

    url: str = Field(default="sqlite:///journal.db", repr=False)
    predictions: bool = True
    required: bool = True
    durability: Literal["process", "power"] = "process"
    label_horizon: Annotated[float, Field(gt=0.0, le=36_500.0)] = 30


class ApiSettings(_Section):
    """The HTTP service: where it listens, and how much one client may ask of it."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    require_key: Annotated[Literal["auto", "always"], BeforeValidator(_always)] = "auto"
    public_metrics: bool = False
    rate_limit: Annotated[float, Field(gt=0.0, le=1e6)] = 1000
    max_body_bytes: Annotated[int, Field(ge=1024, le=2**30)] = 8 * 2**20
    max_upload_bytes: Annotated[int, Field(ge=1024, le=2**40)] = 256 * 2**20
    max_upload_rows: Annotated[int, Field(ge=1, le=10**9)] = 1_000_000
    max_batch_rows: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    live_drift: bool = True
    timeout_seconds: Annotated[float, Field(gt=0.0, le=3600.0)] = 30


class DashboardSettings(_Section):
    """The dashboard: where it listens, which API it asks, and where MLflow's pages are.

    The API key is a secret, and comes from the variable `CHURNOPS_DASHBOARD__API_KEY` only.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 8501
    api_url: str = ""
    api_key: str = Field(default="", repr=False, exclude=True)
    mlflow_url: str = "http://127.0.0.1:5000"
    login: bool = False


class Settings(_Section):
    """Everything that can be set, by section. `root` is the folder that relative paths count from."""

    random_state: Annotated[int, Field(ge=0, le=2**31 - 1)] = 42
    demonstration: Annotated[bool, Strict()] = False
    data: DataSettings = DataSettings()
    features: FeatureSettings = FeatureSettings()
    training: TrainingSettings = TrainingSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    monitoring: MonitoringSettings = MonitoringSettings()
    alerts: AlertSettings = AlertSettings()
    retraining: RetrainingSettings = RetrainingSettings()
    registry: RegistrySettings = RegistrySettings()
    tracking: TrackingSettings = TrackingSettings()
    journal: JournalSettings = JournalSettings()
    api: ApiSettings = ApiSettings()
    dashboard: DashboardSettings = DashboardSettings()
    # `schema` is a deprecated method of pydantic models; a field of that name needs an alias.
    table: Schema = Field(alias="schema")

    _root: Path = PrivateAttr(default_factory=Path.cwd)

    @property
    def root(self) -> Path:
        """Folder of `config.yaml`."""
        return self._root

    @property
    def banner(self) -> str:
        """Sentence to show with everything that the project says of its model; empty but for a demonstration."""
        return DEMONSTRATION if self.demonstration else ""

    def path(self, relative: str) -> Path:
        """Resolve a path of the settings against `root`."""
        return self._root / relative

    def database_url(self, url: str) -> str:
        """Resolve the file of a relative SQLite URL against `root`; other URLs are returned as they are."""
        prefix = "sqlite:///"
        if not url.startswith(prefix) or url.startswith(prefix + "/") or ":memory:" in url:
            return url
        if "?" in str(self._root):
            raise SettingsError(f"{self._root}: a question mark in the path would end a database's address: rename it")
        return prefix + str(self._root / url.removeprefix(prefix))

    @classmethod
    def parse(cls, document: Mapping[str, Any], root: Path) -> Self:
        """Check a settings document; `root` is what its relative paths count from.

        Raises
        ------
        SettingsError
            On the first name or value that is not allowed, in one line.
        """
        try:
            settings = cls.model_validate(document)
        except ValidationError as error:
            raise SettingsError(_explain(cls, error.errors()[0])) from None
        settings._root = root
        return settings


def _explain(model: type[BaseModel], error: ErrorDetails) -> str:
    """Turn pydantic's first error into one line; an unknown key is answered with the nearest valid one."""
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        section, key = _fields_at(model, error["loc"][:-1]), str(error["loc"][-1])
        variable = ENV_PREFIX + where.replace(".", "__").upper()
        return f"unknown setting '{where}' (or variable {variable}): {nearest(key, section)}"
    reason = error["msg"].removeprefix("Value error, ").replace("valid tuple", "list")
    given = error.get("input")
    shown = f", given {given!r}" if isinstance(given, str | int | float | bool | None) else ""
    # An address may carry a password.
    secret = where.startswith(("journal.url", "tracking.uri", "retraining.check_url", *map(".".join, SECRETS)))
    quote = ": put it in quotes" if error["type"] == "string_type" and isinstance(given, bool | int | float) else ""
    return f"setting '{where}': {reason}{'' if secret or error['type'] == 'missing' else redact(shown)}{quote}"


def _fields_at(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Return the names valid at `location` (sections, or items of lists of sections)."""
    for part in location:
        if isinstance(part, int):
            continue
        by_alias = {field.alias or name: field for name, field in model.model_fields.items()}
        annotation = by_alias[part].annotation
        candidates = (annotation, *getattr(annotation, "__args__", ()))
        model = next(c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel))
    return [field.alias or name for name, field in model.model_fields.items()]
