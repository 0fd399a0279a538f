"""The commands of a project as functions: each returns the result that its command prints."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from churnops.project import Project
from churnops.settings import Settings, permissions_applied, project_settings

if TYPE_CHECKING:  # the functions import their pipelines: scikit-learn is loaded only to train
    import polars as pl

    from churnops.discovery.discover import Discovery
    from churnops.pipelines.run_all import RunSummary
    from churnops.pipelines.run_monitoring import MonitoringSummary
    from churnops.python_api.model import Model
    from churnops.retraining.gate import Decision

Config = Path | str | None
"""A project: its folder or its `config.yaml`; None: the project of this folder or one above."""


@contextmanager
def _opened(config: Config) -> Iterator[Settings]:
    """Yield the settings of a project; files that the block writes have the permissions of the settings."""
    settings = project_settings(config)
    for line in settings.renamed:
        warnings.warn(line, FutureWarning, stacklevel=4)
    with permissions_applied(settings):
        yield settings


def init(
    table: Path | str | Sequence[Path | str],
    target: str,
    *,
    positive: str | None = None,
    identifier: str | None = None,
    time: str | None = None,
    folder: Path | str = ".",
    force: bool = False,
) -> "Discovery":
    """Find out what a table holds, and write a commented `config.yaml`, as `churnops init` does.

    Parameters
    ----------
    table
        CSV, Parquet or Excel files, folders of them, or queries on PostgreSQL (.sql).
    target
        Header of the outcome's column.
    positive
        Outcome that means churned. None: by its name, or the rarer.
    identifier
        Header of the customer's id. None: it is looked for.
    time
        Header of the row's time, if the latest rows are to be held out. None: rows are held out at random.
    folder
        Project folder; it is made if it does not exist.
    force
        Replace an existing `config.yaml`.

    Returns
    -------
    Discovery
        The columns with their kinds and reasons, the outcome, and columns that contain it (`leaks`).

    Raises
    ------
    ChurnopsError
        If the table cannot be read, the header does not exist, no column can be an input, or there is a `config.yaml`.

    Examples
    --------
    >>> import churnops
    >>> discovery = churnops.init("data/raw/churn-80.csv", "Churn", folder="of-this-table")
    >>> discovery.rows, [column.name for column in discovery.columns][:3]
    (500, ['state', 'account_length', 'area_code'])
    """
    from churnops.discovery.project import init_project

    tables = [Path(path) for path in ([table] if isinstance(table, str | Path) else table)]
    return init_project(
        tables,
        target,
        positive=positive,
        identifier=identifier,
        time=time,
        folder=Path(folder),
        force=force,
    )[0]


def run(config: Config = None, *, deploy: bool = False, accept_leak: Sequence[str] = ()) -> "RunSummary":
    """Run the seven steps from raw tables to a deployed model, as `churnops run` does.

    Parameters
    ----------
    config
        Folder or `config.yaml` of the project. None: that of this folder or one above.
    deploy
        Deploy the best model without asking the gate.
    accept_leak
        Names or headers of columns that contain the outcome, with which the model may be deployed nevertheless.

    Returns
    -------
    RunSummary
        With `winner`, `metrics` (on held-out customers), `deployed` (`status` and `reason`) and `cycle` (the first
        monitoring report).

    Raises
    ------
    ChurnopsError
        If a setting or table is wrong. The deployed model stays.

    Examples
    --------
    >>> import churnops
    >>> result = churnops.run()
    >>> result.winner
    'logistic_regression'
    >>> result.metrics["roc_auc"] > 0.5
    True
    """
    from churnops.pipelines.run_all import run_all

    with _opened(config) as settings:
        return run_all(settings, deploy=deploy, accept_leak=accept_leak)


def monitor(customers: object = None, *, config: Config = None, retrain: bool = True) -> "MonitoringSummary":
    """Run one monitoring cycle, as `churnops monitor` does: report, files, MLflow, alerts.

    Parameters
    ----------
    customers
        None: the newest predictions of the journal, and the outcomes that are due. A path: a file, which causes
        actions only in a folder of `data.batches`. A folder of files, a list of dicts or a DataFrame: the cycle only
        reports.
    config
        As in `run`.
    retrain
        False prevents a retraining.

    Returns
    -------
    MonitoringSummary
        With `cycle.report`, and `cycle.page` (HTML) and `cycle.path` (JSON), the files of the report.

    Raises
    ------
    ChurnopsError
        If no model is deployed, or the customers break its Schema.

    Examples
    --------
    >>> import churnops
    >>> summary = churnops.monitor("data/production/churn-later.csv")
    >>> summary.cycle.report.rows, summary.cycle.page.suffix
    (500, '.html')
    """
    from churnops.pipelines import sources
    from churnops.pipelines.run_monitoring import run_monitoring

    with _opened(config) as settings:
        if customers is None:
            source = sources.window()
        elif isinstance(customers, str | Path) and Path(customers).is_dir():
            source = sources.folder(Path(customers))
        elif isinstance(customers, str | Path):
            source = sources.file(Path(customers), sources.source_of(Path(customers), settings))
        else:
            source = sources.table(customers)
        return run_monitoring(settings, source, permitted=retrain)


def compare(champion: "Model", challenger: "Model", customers: object, *, config: Config = None) -> "Decision":
    """Ask the gate whether a challenger is proven better than a champion on these customers. Nothing is deployed.

    Customers without an outcome, and those that one of the models was trained on, are left out.

    Parameters
    ----------
    customers
        A list of dicts, a pandas or Polars DataFrame, or the path of a file, with the outcome.
    config
        Project with the settings of the gate (section `retraining`) and the training rows of both models; as in `run`.

    Returns
    -------
    Decision
        With `verdict` (deploy, keep, or cannot tell), `reason`, `gain` and its bounds `low` and `high`.

    Raises
    ------
    ChurnopsError
        If the customers break the Schema of the settings.

    Examples
    --------
    >>> import churnops
    >>> model = churnops.load_model()
    >>> churnops.compare(model, model, "data/production/churn-later.csv").verdict
    'keep'
    """
    from churnops.data.validate import check_customers
    from churnops.retraining.comparison import compare_on_customers
    from churnops.scoring.customers import as_table

    with _opened(config) as settings, Project.open(settings) as project:
        given = as_table(customers, settings.table)
        table = check_customers(given, settings.table, "customers", keep_outcome=True, may_have_gaps=True)
        return compare_on_customers(project, table, challenger.bundle, champion.bundle)


def simulate(
    rows: int = 500,
    *,
    covariate: float = 0.0,
    columns: Sequence[str] = (),
    prior: float | None = None,
    concept: float = 0.0,
    recipe: bool = False,
    seed: int | None = None,
    config: Config = None,
) -> "pl.DataFrame":
    """Return simulated customers with known drift, as `churnops simulate` does, to try monitoring.

    The table has the headers of the tables in `data.production` (or `data.raw`), the outcome, and
    `churnops_simulated`, by which every command knows that the customers are simulated. Without changes the customers
    are a random sample.

    Parameters
    ----------
    covariate
        Shift of `columns` in standard deviations.
    columns
        Names of numeric columns to shift. Default: those that no other column determines.
    prior
        Churn rate of the result, in [0, 1].
    concept
        Share of the customers whose outcome no longer depends on their columns, in [0, 1].
    recipe
        Add noise to `monitoring.recipe_columns`, and flip 2 to 5 % of outcomes.
    seed
        The same seed gives the same customers. None: `random_state`.
    config
        As in `run`.

    Raises
    ------
    DataError
        If the drift is impossible, or a table breaks the Schema.

    Examples
    --------
    >>> import churnops
    >>> shifted = churnops.simulate(200, covariate=0.5, columns=["total_day_minutes"], seed=1)
    >>> shifted.height, churnops.ModelMonitor().check(shifted).simulated
    (200, True)
    """
    from churnops.data.simulate import Drift
    from churnops.pipelines.simulate import simulate_table, source_tables

    with _opened(config) as settings:
        drift = Drift(
            covariate=covariate,
            columns=tuple(columns),
            prior=prior,
            concept=concept,
            recipe=recipe,
            noisy=settings.monitoring.recipe_columns,
        )
        chosen = settings.random_state if seed is None else seed
        return simulate_table(source_tables(settings), settings.table, drift, rows=rows, seed=chosen)[1]
