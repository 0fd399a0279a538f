"""A deployed or saved model that scores and explains the customers of a program."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, overload

import polars as pl

from churnops.data.accepted import Accepted
from churnops.errors import ChurnopsError, SettingsError
from churnops.model import Bundle
from churnops.model.bundle_folder import DOCUMENT
from churnops.project import Project
from churnops.schema import Schema
from churnops.scoring.customers import as_table, like
from churnops.scoring.table import TOP_FEATURES, check_expected, score_table
from churnops.settings import CONFIG_NAME, project_settings

Frame = TypeVar("Frame")
"""A pandas or Polars DataFrame."""


def load_model(source: Path | str | None = None) -> "Model":
    """Load a model.

    Parameters
    ----------
    source
        A project (its folder or its `config.yaml`): its deployed model. The folder of a Bundle, such as one in
        `models/versions`: this model. None: the deployed model of the project in this folder or one above.

    Raises
    ------
    ChurnopsError
        If there is no project or model, or the model is damaged.

    Examples
    --------
    >>> import churnops
    >>> model = churnops.load_model()
    >>> model.threshold
    0.5
    """
    if source is not None and Path(source).is_dir():
        folder = Path(source)
        if (folder / DOCUMENT).exists():
            return Model(Bundle.load(folder))
        if not (folder / CONFIG_NAME).exists():
            raise SettingsError(
                f"{folder} has neither {DOCUMENT} nor {CONFIG_NAME}: give the folder of a project or model"
            )
    return Model(Project(project_settings(source)).require_deployed())


class Model:
    """A model with the product's own checks: the same numbers as from the API and from `churnops predict`.

    Customers are a dict (one customer), a list of dicts, a pandas or Polars DataFrame, or the path of a CSV, Parquet
    or Excel file, with raw headers or snake_case names. The answers have the same form, with one row for each customer;
    for a file, a Polars DataFrame. A pandas table keeps its index. Columns outside the Schema are ignored. A dict may
    lack nullable columns.

    A level that a category does not have is scored as other. A table or file may have a few empty cells in a column
    that had none in training. A warning names the column, the number of such cells and the first row. A file with many
    unknown levels is refused, and so is a table or file with many such empty cells.

    Attributes
    ----------
    bundle
        The model itself.

    Examples
    --------
    >>> import churnops
    >>> model = churnops.load_model()
    >>> customer = {"state": "KS", "account_length": 128, "area_code": 415, "international_plan": "No",
    ...     "voice_mail_plan": "Yes", "number_vmail_messages": 25, "total_day_minutes": 265.1, "total_day_calls": 110,
    ...     "total_eve_minutes": 197.4, "total_eve_calls": 99, "total_night_minutes": 244.7, "total_night_calls": 91,
    ...     "total_intl_minutes": 10.0, "total_intl_calls": 3, "customer_service_calls": 1}
    >>> answer = model.predict(customer)
    >>> answer["churn_prediction"], answer["model_version"] == model.version
    (False, True)
    >>> reasons = model.explain(customer, top=2)["top_shap_features"]
    >>> [sorted(reason) for reason in reasons]
    [['feature', 'shap_value'], ['feature', 'shap_value']]
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle

    def __repr__(self) -> str:
        return f"<churnops.Model {self.version}, threshold {self.threshold:g}>"

    @property
    def schema(self) -> Schema:
        """Columns of the customer table."""
        return self.bundle.schema

    @property
    def threshold(self) -> float:
        """Lowest probability of a customer who is predicted to churn, in (0, 1)."""
        return self.bundle.threshold

    @property
    def version(self) -> str:
        """Family and the first 12 digits of the content hash, such as `random_forest-dcf010f86dc4`."""
        return self.bundle.version_name

    @overload
    def predict(
        self, customers: Mapping[str, Any], *, accept_missing: Sequence[str] = ..., accept_unknown: bool = ...
    ) -> dict[str, Any]: ...
    @overload
    def predict(
        self, customers: Sequence[Mapping[str, Any]], *, accept_missing: Sequence[str] = ...
    ) -> list[dict[str, Any]]: ...
    @overload
    def predict(
        self, customers: Path | str, *, accept_missing: Sequence[str] = ..., accept_unknown: bool = ...
    ) -> pl.DataFrame: ...
    @overload
    def predict(
        self, customers: Frame, *, accept_missing: Sequence[str] = ..., accept_unknown: bool = ...
    ) -> Frame: ...
    def predict(self, customers: object, *, accept_missing: Sequence[str] = (), accept_unknown: bool = False) -> Any:
        """Score customers: `churn_probability`, `churn_prediction` and `model_version` of each.

        Parameters
        ----------
        accept_missing
            Names or headers of columns that may be missing, or empty in many rows, as for `churnops predict
            --accept-missing`. A dict may then lack them too.
        accept_unknown
            Whether a file may have many unknown levels, which are scored as other, as for `--accept-unknown`. All other
            customers may.

        Raises
        ------
        DataError
            If the customers cannot be read or break the Schema; each line names a column, the rule and the rows.
        """
        return self._answers(customers, accept_missing, accept_unknown, explain=False)

    @overload
    def explain(
        self, customers: Mapping[str, Any], top: int = ..., *, accept_missing: Sequence[str] = ...
    ) -> dict[str, Any]: ...
    @overload
    def explain(
        self, customers: Sequence[Mapping[str, Any]], top: int = ..., *, accept_missing: Sequence[str] = ...
    ) -> list[dict[str, Any]]: ...
    @overload
    def explain(
        self, customers: Path | str, top: int = ..., *, accept_missing: Sequence[str] = ...
    ) -> pl.DataFrame: ...
    @overload
    def explain(
        self, customers: Frame, top: int = ..., *, accept_missing: Sequence[str] = ..., accept_unknown: bool = ...
    ) -> Frame: ...
    def explain(
        self,
        customers: object,
        top: int = TOP_FEATURES,
        *,
        accept_missing: Sequence[str] = (),
        accept_unknown: bool = False,
    ) -> Any:
        """Score customers, with the reasons: also `base_value`, `explanation_scale` and `top_shap_features`.

        Parameters
        ----------
        top
            Maximum number of reasons. Each is a dict of `feature` and `shap_value`; the largest absolute value is
            first.
        accept_missing, accept_unknown
            As in `predict`.

        Raises
        ------
        DataError
            As in `predict`.
        """
        if top < 1:
            raise ChurnopsError(f"top is {top}: give the number of reasons, at least 1")
        return self._answers(customers, accept_missing, accept_unknown, explain=True, top=top)

    def _answers(
        self,
        customers: object,
        accept_missing: Sequence[str],
        accept_unknown: bool,
        *,
        explain: bool,
        top: int = TOP_FEATURES,
    ) -> Any:
        is_request = isinstance(customers, Mapping | Sequence) and not isinstance(customers, str)
        missing = [accept_missing] if isinstance(accept_missing, str) else accept_missing
        unknown = accept_unknown or not isinstance(customers, str | Path)
        accepted = Accepted.of(self.schema, unknown=unknown, missing=missing)
        may_lack = accepted.missing | (Accepted.requests(self.schema).missing if is_request else frozenset())
        scored = score_table(
            as_table(customers, self.schema),
            self.bundle,
            "customers",
            explain=explain,
            top=top,
            may_lack=may_lack,
            may_have_gaps=not is_request,
        )
        check_expected(scored.unexpected, self.bundle, "customers", accepted)
        for sentence in scored.unexpected.sentences(self.schema):
            warnings.warn(sentence, stacklevel=3)
        answers = scored.table
        return like(customers, answers.select([name for name in self.schema.added if name in answers.columns]))
