"""Score a table of customers with a bundle: check, encode, predict or explain, and add the results as columns.

The API's uploads and `churnops predict` both use it, so a customer gets the same score from both. Thread-safe.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass

import polars as pl

from churnops.data.accepted import Accepted
from churnops.data.read import encode
from churnops.data.unexpected_cells import ACCEPT, UnexpectedCells, expected_shares
from churnops.data.validate import ValidationError, check_customers
from churnops.errors import ChurnopsError, DataError
from churnops.model import Bundle, Prediction
from churnops.model.prediction import Explanation
from churnops.schema import DECISION, Columns

TOP_FEATURES = 6
DIGITS = 6  # significant digits of a contribution in a text
EXPLANATIONS = "top_shap_features"
MAX_CELLS = 2**24  # of a batch as the model encodes it: 128 MiB


@dataclass(frozen=True)
class ScoredTable:
    """A table and its scores, in the given order of rows.

    Attributes
    ----------
    table
        The given columns unchanged, without personal ones and those of an earlier scoring (`Schema.added`), then
        `churn_probability`, `churn_prediction` and `model_version`; `decision_version` if a policy is set. With
        explanations also `base_value`, `explanation_scale` and `top_shap_features`, a list of up to `top` structs of
        `feature` and `shap_value`, largest absolute value first.
    customers
        The columns of the Schema, typed, with snake_case names and without the outcome.
    columns
        `customers`, encoded (see `churnops.schema`).
    explanation
        Contributions to each score; None if `explain` is False.
    unexpected
        Cells of the customers that training did not have.
    """

    table: pl.DataFrame
    customers: pl.DataFrame
    columns: Columns
    prediction: Prediction
    explanation: Explanation | None
    unexpected: UnexpectedCells


def score_table(
    table: pl.DataFrame,
    bundle: Bundle,
    name: str,
    *,
    explain: bool,
    first_row: int = 0,
    top: int = TOP_FEATURES,
    may_lack: Collection[str] = (),
    may_have_gaps: bool = False,
) -> ScoredTable:
    """Check and score a table with snake_case names or raw headers.

    Parameters
    ----------
    name
        Name of the table in errors.
    explain
        Whether to add the largest contributions to each score.
    first_row
        Number of rows above the table in the same file; row numbers in errors include them.
    top
        Maximum number of contributions of each row.
    may_lack
        Inputs that the table may lack.
    may_have_gaps
        Whether cells of inputs that are not nullable may be empty; see `check_expected`.

    Raises
    ------
    ValidationError
        If the table breaks the bundle's Schema; `failures` lists the broken rules, 20 at most.
    DataError
        If a column is repeated.
    ChurnopsError
        If a row has no score because a feature overflows.
    """
    table = table.drop(bundle.schema.added, strict=False)
    try:
        customers = check_customers(table, bundle.schema, name, may_lack=may_lack, may_have_gaps=may_have_gaps)
    except ValidationError as error:
        raise error.below(first_row) from None
    except DataError as error:
        raise DataError(f"{name}: {error}") from None
    columns = encode(customers, bundle.schema)
    try:
        explanation = bundle.explain(columns) if explain else None
        prediction = explanation.prediction if explanation else bundle.predict(columns)
    except ChurnopsError as error:
        text = re.sub(r"\brow (\d+)", lambda match: f"row {int(match[1]) + first_row}", str(error))
        raise type(error)(f"{name}: {text}") from None
    added = [
        pl.Series("churn_probability", prediction.probability),
        pl.Series("churn_prediction", prediction.churn),
        pl.lit(bundle.version_name).alias("model_version"),
    ]
    if bundle.decision_version and DECISION in bundle.schema.added:
        added.append(pl.lit(bundle.decision_version).alias(DECISION))
    if explanation:
        added += [
            pl.lit(float(explanation.base_value)).alias("base_value"),
            pl.lit(bundle.explanation_scale).alias("explanation_scale"),
            _largest(explanation, bundle, top),
        ]
    unexpected = UnexpectedCells.of(customers, columns, bundle.schema, first_row)
    names = bundle.schema.rename(table.columns)
    table = table.drop([header for header, name in names.items() if name in bundle.schema.personal])
    return ScoredTable(table.with_columns(added), customers, columns, prediction, explanation, unexpected)


def rows_at_once(rows: int, bundle: Bundle) -> int:
    """Return the number of rows of a batch: `rows`, or fewer if the model encodes them in many columns."""
    return max(min(rows, MAX_CELLS // bundle.width), 1)


def check_expected(cells: UnexpectedCells, bundle: Bundle, name: str, accepted: Accepted) -> None:
    """Refuse a whole file with many unexpected cells.

    Raises
    ------
    ValidationError
        If more than 5 % of 100 rows or more have an unknown level in a column, unless it had 1 % in cross-validation;
        or if a column that is not nullable is empty in all rows, or in more than 5 % of the rows and in more than five.
    """
    failures = cells.empty_failures(bundle.schema, name, accepted.missing)
    if not accepted.unknown:
        failures += cells.unknown_failures(bundle.schema, name, ACCEPT, expected_shares(bundle.metrics))
    if failures:
        raise ValidationError(failures)


def _largest(explanation: Explanation, bundle: Bundle, top: int) -> pl.Series:
    """Return each row's largest contributions, list[struct[feature, shap_value]]."""
    positions, values = explanation.top(bundle.selected, top)
    names = pl.Series("feature", bundle.selected, dtype=pl.String)
    pairs = pl.DataFrame(
        [names.gather(pl.Series(positions.ravel(), dtype=pl.UInt32)), pl.Series("shap_value", values.ravel())]
    )
    return pairs.to_struct(EXPLANATIONS).reshape(positions.shape).arr.to_list()


def with_json_reasons(table: pl.DataFrame) -> pl.DataFrame:
    """Return the table with the largest contributions as JSON text, with six digits each.

    Examples
    --------
    >>> pair = {"feature": "total_charge", "shap_value": 0.31234567}
    >>> with_json_reasons(pl.DataFrame({"top_shap_features": [[pair]]})).item()
    '[{"feature":"total_charge","shap_value":0.312346}]'
    """
    if EXPLANATIONS not in table.columns:
        return table
    return table.with_columns(_as_json(table.get_column(EXPLANATIONS)))


def _as_json(lists: pl.Series) -> pl.Series:
    """Write equally long lists of pairs as JSON, with one expression for each position."""
    pairs = []
    for place in range(int(lists.list.len().max() or 0)):  # type: ignore[arg-type]
        pair = pl.col(EXPLANATIONS).list.get(place).struct
        value = pair.field("shap_value").round_sig_figs(DIGITS).cast(pl.String)
        parts = (pl.lit('{"feature":"'), pair.field("feature"), pl.lit('","shap_value":'), value, pl.lit("}"))
        pairs.append(pl.concat_str(parts))
    text = pl.concat_str(pl.lit("["), pl.concat_str(pairs, separator=","), pl.lit("]"))
    return lists.to_frame().select(text.alias(EXPLANATIONS)).to_series()
