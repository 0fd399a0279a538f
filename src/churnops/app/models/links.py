"""Links to MLflow's pages, made of checked parts only: address from the settings, hexadecimal ids, version numbers."""

import re

from churnops.address import split_address
from churnops.settings import Settings

_RUN_ID = re.compile(r"[0-9a-f]{32}")


class MlflowLinks:
    """Addresses of runs and versions below `dashboard.mlflow_url`; None if there is no safe link.

    Parameters
    ----------
    address
        MLflow's address: `http` or `https`. Another address gives no links; then `problem` holds the reason.
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
            self.problem = "No links to MLflow: dashboard.mlflow_url is empty."
            return
        try:
            split_address(address)
        except ValueError as error:
            self.problem = f"No links to MLflow: dashboard.mlflow_url {error}."
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
