"""The sections of the settings: names, rules and defaults."""

import re
from collections.abc import Mapping
from os.path import normpath
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    StringConstraints,
    ValidationError,
    model_serializer,
    model_validator,
)

from churnops.address import is_object_address
from churnops.errors import SettingsError
from churnops.schema import Name, Schema, without_empty_labels
from churnops.settings.columns import check_columns, check_directions
from churnops.settings.problems import explain
from churnops.settings.rules import (
    CHANNEL,
    CLUSTER,
    DESCRIPTION,
    EXPRESSION,
    HOST,
    JOURNAL_URL,
    KEY,
    LABEL,
    LINK,
    NO_OR_WEB_ADDRESS,
    ORIGIN,
    ROOT_PATH,
    STORE_URI,
    UNIT,
    WEB_ADDRESS,
    WHY,
    Entries,
    Flag,
    Items,
    Number,
    Text,
    Whole,
    days,
    path,
    path_or_address,
    seconds,
    share,
)

FilePath = Annotated[str, path()]
PathOrAddress = Annotated[str, path_or_address()]
FEATURE = Text("the name of a feature or column", 1, 300)
NAME = Text("a snake_case name", 1, 64)
MODEL_NAME = Text("letters, digits, _, . and -", 1, 64, re.compile(r"[A-Za-z0-9_.-]+").fullmatch)
Family = Literal["logistic_regression", "decision_tree", "random_forest", "xgboost", "blend"]
Direction = Literal["increasing", "decreasing"]
GateMetric = Literal["roc_auc", "average_precision", "log_loss"]
FAMILIES: tuple[Family, ...] = ("logistic_regression", "decision_tree", "random_forest", "xgboost")
STORE_COPIES = "tables-copy"
"""Folder of the copies of tables that are in object stores."""
LIVE = "live"
"""Name of the source of the API's customers. Other sources are files."""
RESERVED_SOURCES = (LIVE, "file", "simulation")
"""Source names that `data.batches` and `--source` cannot use."""
MIN_IMPROVEMENTS: Mapping[GateMetric, float] = {"roc_auc": 0.01, "average_precision": 0.02, "log_loss": 0.005}
"""Default of `retraining.min_improvement` for each metric."""
RENAMED: Mapping[tuple[str, str], str] = {
    ("retraining", "threads"): "training.threads",
    ("retraining", "min_improvement_average_precision"): "retraining.min_improvement",
    ("retraining", "min_improvement_log_loss"): "retraining.min_improvement",
}
"""Present name of each setting that was renamed; the earlier name still works."""
DEMONSTRATION = "Demonstration: simulated customers count as production in this project."
"""Sentence on every page, report and alert of a project with `demonstration: true`."""


def _not_reserved(name: str) -> str:
    if name in RESERVED_SOURCES:
        raise ValueError(f"'{name}' is reserved for churnops: choose another name")
    return name


SourceName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{1,64}$"), AfterValidator(_not_reserved)]
"""Source name of customers that are scored from files."""


def _always(value: Any) -> Any:
    """Read YAML's `true` as "always"; refuse values that would turn API keys off."""
    if value is False or value in ("never", "no", "off"):
        raise ValueError(
            "API keys cannot be turned off: with auto, requests from this machine need no key until the first key is "
            "made"
        )
    return "always" if value is True else value


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataSettings(_Section):
    """Tables of customers: files or folders of CSV, Parquet and Excel, and queries on PostgreSQL (.sql).

    Files and folders may be in an object store. `batches` maps a source's name to its files of scored customers.
    Monitoring such a file may alert and retrain.
    """

    raw: Annotated[tuple[PathOrAddress, ...], Items(1, 1000)] = ("data/raw",)
    production: Annotated[tuple[PathOrAddress, ...], Items(0, 1000)] = ("data/production",)
    batches: Annotated[Mapping[SourceName, PathOrAddress], Entries(0, 100)] = Field(default={})
    max_broken_rows: Annotated[float, share(0.0, 0.5)] = 0.0

    @model_validator(mode="after")
    def _apart(self) -> Self:
        """Refuse a table with two uses: a model must not be monitored on its training rows."""
        uses = (("raw", self.raw), ("production", self.production), ("batches", tuple(self.batches.values())))
        seen: dict[str, str] = {}
        for use, paths in uses:
            for text in paths:
                other = seen.setdefault(normpath(text), use)
                if other != use:
                    raise ValueError(f"{use} and {other} must not share a path, given {text!r} in both")
            if use != "batches" and len({normpath(text) for text in paths}) < len(paths):
                raise ValueError(f"{use} must not name a path twice")
        return self


class DerivedFeature(_Section):
    """A column computed from the customer's row; `churnops.features.expressions` describes the language."""

    name: Annotated[Name, NAME]
    expression: Annotated[str, EXPRESSION]
    label: Annotated[str, LABEL] = ""
    unit: Annotated[str, UNIT] = ""
    why: Annotated[str, WHY] = ""
    action: Annotated[str, WHY] = ""
    description: Annotated[str, DESCRIPTION] = ""

    @model_serializer(mode="wrap")
    def _without_empty(self, document: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_empty_labels(document(self))


class FeatureSettings(_Section):
    """Derived columns, rules that leave a feature out of the models, and the source of customers' columns.

    With `source: feast` the training rows are those of `feast_rows`, instead of `data.raw`. The columns of a customer
    whose request has nothing but an id come from the feature server at `feast_url`, instead of the journal.
    """

    derived: Annotated[tuple[DerivedFeature, ...], Items(0, 1000)] = ()
    exclude: Annotated[tuple[Annotated[str, FEATURE], ...], Items(0, 10_000)] = ()
    max_correlation: Annotated[float, share(0.1)] = 0.9999
    source: Literal["table", "feast"] = "table"
    feast_rows: PathOrAddress = "feast/training_rows.parquet"
    feast_url: Annotated[str, WEB_ADDRESS] = "http://127.0.0.1:6566"


class TrainingSettings(_Section):
    """Recipe, model families to search, trials for each, and the metric that chooses the winner.

    `monotone` maps an input to the only direction in which it may change the score.
    """

    recipe: Literal["report", "general"] = "report"
    families: Annotated[tuple[Family, ...], Items(1, 5)] = FAMILIES
    trials: Annotated[Mapping[Family, Annotated[int, Whole(1, 1000)]], Entries(0, 5)] = Field(
        default={"logistic_regression": 6, "decision_tree": 8, "random_forest": 6, "xgboost": 12}
    )
    folds: Annotated[int, Whole(2, 20)] = 5
    selection_metric: Literal["log_loss", "brier", "roc_auc", "average_precision"] = "log_loss"
    threads: Annotated[int, Whole(1, 256)] = 2
    monotone: Annotated[Mapping[Annotated[str, FEATURE], Direction], Entries(0, 1000)] = Field(default={})


class EvaluationSettings(_Section):
    """Evaluation on a holdout, on which nothing is fitted, or by repeated cross-validation."""

    holdout_fraction: Annotated[float, share(0.05, 0.5)] = 0.2
    split: Literal["random", "time", "repeated"] = "random"
    threshold: Annotated[float | Literal["auto"], Number(1e-6, 1 - 1e-6, or_word="auto")] = 0.5
    threshold_for: Literal["f1", "recall", "profit"] = "f1"
    min_recall: Annotated[float, share(0.01)] = 0.8
    break_even: Annotated[float, share(0.001)] = 0.2
    confidence: Annotated[float, share(0.01, 0.9999)] = 0.95
    bootstrap_replicates: Annotated[int, Whole(100, 100_000)] = 1000

    @property
    def in_time(self) -> bool:
        """Whether later rows are held out."""
        return self.split == "time"


class MonitoringSettings(_Section):
    """Window, limits of performance and drift, and error budget of monitoring."""

    performance_threshold: Annotated[float | None, Number(0.0, 1.0, or_null=True)] = None
    drift_threshold: Annotated[float, share(1e-300, 0.5)] = 0.05
    drift_rate_threshold: Annotated[float, share()] = 0.30
    max_decline: Annotated[float, share(1e-6)] = 0.10
    correction: Literal["benjamini_hochberg", "none"] = "benjamini_hochberg"
    min_distance: Annotated[float, share(0.0, 0.99)] = 0.08
    min_psi: Annotated[float, Number(0.0, 1e9)] = 0.1
    false_alarm_budget: Annotated[float, share(1e-300, 0.5)] = 0.05
    window_days: Annotated[float, Number(days().low, 3650, "days")] = 7
    recipe_columns: Annotated[tuple[Annotated[str, NAME], ...], Items(0, 1000)] = ()
    directory: FilePath = "monitoring"


class AlertSettings(_Section):
    """Channels and repetition of alerts. `urls` are secrets: only the variable `CHURNOPS_ALERTS__URLS` sets them."""

    urls: Annotated[tuple[Annotated[str, CHANNEL], ...], Items(0, 50)] = Field(default=(), repr=False, exclude=True)
    link: Annotated[str, LINK] = ""
    repeat_hours: Annotated[float, Number(1 / 60, 8760.0, "hours", or_zero=True)] = 24
    attempts: Annotated[int, Whole(1, 10)] = 3
    timeout_seconds: Annotated[float, seconds(0.1, 300.0)] = 10


class RetrainingSettings(_Section):
    """Conditions of a retraining run, its training rows, and the improvement that the gate requires.

    `min_improvement` is a gain in `metric`. Without a `confidence` the gain alone decides. `check_key` is the API key
    for `check_url` and a secret: only the variable `CHURNOPS_RETRAINING__CHECK_KEY` sets it.
    """

    automatic: Annotated[bool, Flag()] = True
    retraining_cooldown_days: Annotated[float, days(or_zero=True)] = 0
    every_days: Annotated[float, days(or_zero=True)] = 0
    min_new_labels: Annotated[int, Whole(1, 10**9)] = 500
    families: Annotated[tuple[Family, ...], Items(1, 5)] = ("random_forest", "xgboost")
    history_days: Annotated[float, days()] = 365
    holdout_rows: Annotated[int, Whole(50, 10**9)] = 300
    recent_fraction: Annotated[float, share(0.001)] = 0.25
    threads: Annotated[int | None, Whole(1, 256)] = None  # an earlier name, see RENAMED
    metric: GateMetric = "roc_auc"
    min_improvement: Annotated[float, share()] = Field(
        default_factory=lambda earlier: MIN_IMPROVEMENTS[earlier.get("metric", "roc_auc")]
    )
    min_improvement_average_precision: Annotated[float | None, share()] = None  # an earlier name
    min_improvement_log_loss: Annotated[float | None, Number(0.0, 100.0)] = None  # an earlier name
    confidence: Annotated[float | None, Number(0.01, 0.9999, or_null=True)] = 0.95
    max_log_loss_increase: Annotated[float, Number(0.0, 1e9)] = 0.01
    max_calibration_error_increase: Annotated[float, share()] = 0.02
    check_url: Annotated[str, NO_OR_WEB_ADDRESS] = ""
    check_key: Annotated[str, KEY] = Field(default="", repr=False, exclude=True)
    check_seconds: Annotated[float, seconds(0.1, 600.0)] = 20

    @property
    def improvement(self) -> float:
        """Required gain in `metric`. The earlier name of the metric's setting, if used, overrides `min_improvement`."""
        earlier = getattr(self, f"min_improvement_{self.metric}", None)
        return self.min_improvement if earlier is None else float(earlier)

    @model_serializer(mode="wrap")
    def _without_unused_names(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        unused = {key for section, key in RENAMED if section == "retraining" and getattr(self, key) is None}
        return {name: value for name, value in write(self).items() if name not in unused}


class RegistrySettings(_Section):
    """Name of the registered model in MLflow, and the folder of deployed models.

    `directory` may be in an object store; `copy_directory` is then its local copy. With `approval` only `churnops
    promote` deploys, with an API key in `approval_key`: a secret that only the variable
    `CHURNOPS_REGISTRY__APPROVAL_KEY` sets. `webhook` is told of versions that enter a state; the variable
    `CHURNOPS_REGISTRY__WEBHOOK_SECRET` sets the secret that signs these requests.
    """

    model_name: Annotated[str, MODEL_NAME] = "churn"
    directory: PathOrAddress = "models"
    copy_directory: FilePath = "models-copy"
    approval: Annotated[bool, Flag()] = False
    approval_key: Annotated[str, KEY] = Field(default="", repr=False, exclude=True)
    webhook: Annotated[str, NO_OR_WEB_ADDRESS] = ""
    webhook_secret: Annotated[str, KEY] = Field(default="", repr=False, exclude=True)


class TrackingSettings(_Section):
    """The MLflow store; the variable `MLFLOW_TRACKING_URI` overrides it."""

    uri: Annotated[str, STORE_URI] = "sqlite:///mlflow.db"
    artifacts: PathOrAddress = "mlartifacts"


class JournalSettings(_Section):
    """SQLAlchemy URL of the journal's database, and rules for its records."""

    url: Annotated[str, JOURNAL_URL] = Field(default="sqlite:///journal.db", repr=False)
    predictions: Annotated[bool, Flag()] = True
    required: Annotated[bool, Flag()] = True
    durability: Literal["process", "power"] = "process"
    label_horizon: Annotated[float, days()] = 30


class ApiSettings(_Section):
    """Address of the HTTP service, and limits for one client."""

    host: Annotated[str, HOST] = "127.0.0.1"
    port: Annotated[int, Whole(1, 65535)] = 8000
    root_path: Annotated[str, ROOT_PATH] = ""
    cors_origins: Annotated[tuple[Annotated[str, ORIGIN], ...], Items(0, 100)] = ()
    require_key: Annotated[Literal["auto", "always"], BeforeValidator(_always)] = "auto"
    public_metrics: Annotated[bool, Flag()] = False
    rate_limit: Annotated[float, Number(0.001, 1e6, "requests a second")] = 1000
    max_body_bytes: Annotated[int, Whole(1024, 2**30)] = 8 * 2**20
    max_upload_bytes: Annotated[int, Whole(1024, 2**40)] = 256 * 2**20
    max_upload_rows: Annotated[int, Whole(1, 10**9)] = 1_000_000
    max_batch_rows: Annotated[int, Whole(1, 1_000_000)] = 10_000
    live_drift: Annotated[bool, Flag()] = True
    challenger_milliseconds: Annotated[float, Number(0.1, 60_000.0, "milliseconds")] = 100
    timeout_seconds: Annotated[float, seconds(0.1, 3600.0)] = 30


class DashboardSettings(_Section):
    """Addresses of the dashboard, of the API that answers its predictions, and of MLflow's pages.

    `api_key` is a secret: only the variable `CHURNOPS_DASHBOARD__API_KEY` sets it.
    """

    host: Annotated[str, HOST] = "127.0.0.1"
    port: Annotated[int, Whole(1, 65535)] = 8501
    api_url: Annotated[str, NO_OR_WEB_ADDRESS] = ""
    api_key: Annotated[str, KEY] = Field(default="", repr=False, exclude=True)
    mlflow_url: Annotated[str, NO_OR_WEB_ADDRESS] = "http://127.0.0.1:5000"
    login: Annotated[bool, Flag()] = False


class ClusterSettings(_Section):
    """Workers of long work: this process, processes of this machine, or a running Dask cluster."""

    address: Annotated[str, CLUSTER] = ""


class Settings(_Section):
    """All settings by section. Relative paths count from `root`."""

    random_state: Annotated[int, Whole(0, 2**31 - 1)] = 42
    permissions: Literal["private", "group"] = "private"
    demonstration: Annotated[bool, Flag()] = False
    safe_csv: Annotated[bool, Flag()] = False
    traces: Annotated[bool, Flag()] = False
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
    cluster: ClusterSettings = ClusterSettings()
    # `schema` is a deprecated method of pydantic models; a field of that name needs an alias.
    table: Annotated[Schema, AfterValidator(check_columns)] = Field(alias="schema")

    _root: Path = PrivateAttr(default_factory=Path.cwd)

    @model_validator(mode="after")
    def _blend_is_general(self) -> Self:
        for section, families in (("training", self.training.families), ("retraining", self.retraining.families)):
            if "blend" in families and self.training.recipe != "general":
                raise ValueError(f"{section}.families: a blend needs training.recipe: general")
        return self

    @model_validator(mode="after")
    def _time_is_declared(self) -> Self:
        if self.evaluation.in_time and self.table.time is None:
            raise ValueError(
                "evaluation.split: time needs a column of kind `time` in the schema: `churnops init TABLE --target "
                "HEADER --time HEADER` declares one"
            )
        return self

    @model_validator(mode="after")
    def _feast_has_keys(self) -> Self:
        if self.features.source == "feast" and self.table.identifier is None:
            raise ValueError(
                "features.source: feast needs a column of kind `id` in the schema, the key of Feast's rows"
            )
        return self

    @model_validator(mode="after")
    def _monotone_inputs(self) -> Self:
        if self.training.monotone and self.training.recipe != "general":
            raise ValueError("training.monotone needs training.recipe: general")
        check_directions(self.training.monotone, self.table, [item.name for item in self.features.derived])
        return self

    @property
    def root(self) -> Path:
        """Folder of `config.yaml`."""
        return self._root

    @property
    def training_tables(self) -> tuple[str, ...]:
        """Tables of training rows: those of `data.raw`, or the one that Feast wrote."""
        return (self.features.feast_rows,) if self.features.source == "feast" else self.data.raw

    @property
    def banner(self) -> str:
        """Sentence for every page, report and alert of a demonstration; empty otherwise."""
        return DEMONSTRATION if self.demonstration else ""

    @property
    def retraining_threads(self) -> int:
        """Number of fits that a retraining run does at once."""
        return self.retraining.threads or self.training.threads

    @property
    def renamed(self) -> tuple[str, ...]:
        """One line for each setting that is given by an earlier name."""
        return tuple(
            f"the setting {section}.{key} is now {name}: the earlier name still works"
            for (section, key), name in RENAMED.items()
            if key in getattr(self, section).model_fields_set
        )

    def changed(self, section: str, values: Mapping[str, object]) -> Self:
        """Return the settings with other values in a section.

        Raises
        ------
        SettingsError
            If a name or value is not allowed.
        """
        document = self.model_dump(mode="json", by_alias=True)
        document[section] |= values
        return self.model_copy(update={section: getattr(self.parse(document, self._root), section)})

    @property
    def models(self) -> Path:
        """Folder of the deployed models on this machine; the local copy if they are in an object store."""
        in_store = is_object_address(self.registry.directory)
        return self.path(self.registry.copy_directory if in_store else self.registry.directory)

    def path(self, relative: str) -> Path:
        """Resolve a path of the settings against `root`; an address in an object store leads to its copy."""
        if is_object_address(relative):
            return self._root / STORE_COPIES / relative.replace("://", "/").rstrip("/")
        return self._root / relative

    def database_url(self, url: str) -> str:
        """Resolve the file of a relative SQLite URL against `root`; other URLs are returned as they are."""
        url = url.replace("sqlite+pysqlite:", "sqlite:", 1)
        prefix = "sqlite:///"
        if not url.startswith(prefix) or url.startswith(prefix + "/") or ":memory:" in url:
            return url
        if "?" in str(self._root):
            raise SettingsError(
                f"{self._root}: a database's address cannot contain the question mark in this path: rename the folder"
            )
        return prefix + str(self._root / url.removeprefix(prefix))

    @classmethod
    def parse(cls, document: Mapping[str, Any], root: Path) -> Self:
        """Check a document of settings; its relative paths count from `root`.

        Raises
        ------
        SettingsError
            If a name or value is not allowed; the message describes the first error in one line.
        """
        try:
            settings = cls.model_validate(document)
        except ValidationError as error:
            raise SettingsError(explain(cls, error.errors(include_url=False)[0])) from None
        settings._root = root
        return settings
