"""Links into MLflow's pages, made only of what was checked: an address of the settings, hexadecimal ids, a number."""

import re

from churnops.address import split_address
from churnops.settings import Settings

_RUN_ID = re.compile(r"[0-9a-f]{32}")


class MlflowLinks:
    """Addresses of runs and versions below `dashboard.mlflow_url`; None where there is nothing safe to link to.

    Parameters
    ----------
    address
        Of MLflow: `http` or `https`. Another is not linked to; `problem` says so.
    model
        Name of the registered model.

    Examples
    --------
    >>> links = MlflowLinks("http://127.0.0.1:5000/", "churn")
    >>> links.version(3)
    'http://127.0.0.1:5000/#/models/churn/versions/3'
    >>> links.run("../x") is None
    True
    >>> MlflowLinks("javascript:alert(1)", "churn").version(3) is None
    True
    """

    def __init__(self, address: str, model: str) -> None:
        self._model = model
        self.address: str | None = None
        self.problem: str | None = None
        if not address:
            self.problem = "There are no links to MLflow: dashboard.mlflow_url is empty."
            return
        try:
            split_address(address)
        except ValueError as error:
            self.problem = f"There are no links to MLflow: dashboard.mlflow_url {error}."
        else:
            self.address = address.rstrip("/")

    @classmethod
    def of(cls, settings: Settings) -> "MlflowLinks":
        """Return the links of a project."""
        return cls(settings.dashboard.mlflow_url, settings.registry.model_name)

    def run(self, run_id: str | None) -> str | None:
        """Return the address of a run's page."""
        good = self.address is not None and run_id is not None and _RUN_ID.fullmatch(run_id)
        return f"{self.address}/#/runs/{run_id}" if good else None

    def version(self, version: int | None) -> str | None:
        """Return the address of a registered version's page."""
        good = self.address is not None and version is not None and version > 0
        return f"{self.address}/#/models/{self._model}/versions/{version}" if good else None
