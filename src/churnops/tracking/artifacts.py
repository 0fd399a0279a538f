"""MLflow's artifacts in an object store: addresses in MLflow's form, and errors of the stores' clients."""

from collections.abc import Mapping

from churnops.errors import SettingsError

CLIENTS = {"s3": "boto3", "az": "azure.storage.blob", "gs": "google.cloud.storage"}
"""Package with which MLflow reaches each store."""
ACCOUNT = "AZURE_STORAGE_ACCOUNT_NAME"


def mlflow_address(address: str, environment: Mapping[str, str]) -> str:
    """Return the address of an object store in MLflow's form.

    Raises
    ------
    SettingsError
        If the store's client is not installed, or the name of the account in Azure is not set.

    Examples
    --------
    >>> mlflow_address("az://models/churn", {"AZURE_STORAGE_ACCOUNT_NAME": "ours"})
    'wasbs://models@ours.blob.core.windows.net/churn'
    """
    scheme, _, place = address.rstrip("/").partition("://")
    _require(scheme, address)
    if scheme != "az":
        return f"{scheme}://{place}"
    container, _, prefix = place.partition("/")
    if not (account := environment.get(ACCOUNT)):
        raise SettingsError(f"tracking.artifacts: {address} needs the variable {ACCOUNT}")
    return f"wasbs://{container}@{account}.blob.core.windows.net/{prefix}"


def _require(scheme: str, address: str) -> None:
    from importlib.util import find_spec

    package = CLIENTS[scheme]
    try:
        installed = find_spec(package) is not None
    except ModuleNotFoundError:
        installed = False
    if not installed:
        raise SettingsError(f"tracking.artifacts: {address} needs {package}: pip install 'churnops[objects]'")


def is_client_error(error: BaseException) -> bool:
    """Whether an error, or its cause, is from the client of an object store.

    >>> is_client_error(ValueError("a number"))
    False
    """
    modules = ("botocore", "boto3", "s3transfer", "azure", "google")
    seen: BaseException | None = error
    while seen is not None:
        if type(seen).__module__.split(".")[0] in modules:
            return True
        seen = seen.__cause__ or seen.__context__
    return False
