"""Score a file of customers with the deployed bundle."""

import os
from pathlib import Path

import polars as pl

from churnops.data.read import ENDINGS, encode, read_table
from churnops.data.validate import check_customers
from churnops.errors import DataError, RegistryError
from churnops.model import Bundle
from churnops.schema import RESERVED


def predict_file(source: Path, target: Path, models: Path, *, overwrite: bool = False) -> tuple[int, int, str]:
    """Write the customers in `source` and their scores to `target`, whole or not at all.

    Parameters
    ----------
    models
        Folder of deployed models; the link `production` in it names the bundle.

    Returns
    -------
    tuple[int, int, str]
        Rows scored, rows predicted to churn, version of the model.

    Raises
    ------
    ChurnopsError
        If nothing is deployed, a row breaks the Schema, or `target` exists or has another ending.
    """
    if not source.is_file() or source.suffix.lower() not in ENDINGS:
        raise DataError(f"{source} is not a .csv or .parquet file")
    if target.suffix.lower() not in ENDINGS:
        raise DataError(f"{target}: the name must end in .csv or .parquet")
    if target.exists() and (not overwrite or not target.is_file() or target.samefile(source)):
        raise DataError(f"{target} exists already: name another file, or give --force (never the input itself)")
    if not target.parent.is_dir():
        raise DataError(f"{target.parent} is not a folder: make it first")
    if not (models / "production").exists():
        raise RegistryError(f"no model is deployed in {models}: type `churnops run` first")
    bundle = Bundle.load(models / "production")
    table = read_table(source)
    taken = [name for name in RESERVED if name in table.columns]
    if taken:
        raise DataError(f"{source} has a column '{taken[0]}' already: rename it, its place is for the score")
    customers = check_customers(table, bundle.schema, source.name)
    scored = bundle.predict(encode(customers, bundle.schema))
    result = table.with_columns(
        pl.Series("churn_probability", scored.probability),
        pl.Series("churn_prediction", scored.churn),
        pl.lit(bundle.version_name).alias("model_version"),
    )
    unfinished = target.with_name(f".{target.name}.{os.getpid()}.unfinished")
    try:
        if target.suffix.lower() == ".parquet":
            result.write_parquet(unfinished)
        else:
            result.write_csv(unfinished)
        unfinished.replace(target)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{target} cannot hold this table: {str(error).partition(chr(10))[0]}") from None
    finally:
        unfinished.unlink(missing_ok=True)
    return table.height, int(scored.churn.sum()), bundle.version_name
