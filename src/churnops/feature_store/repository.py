"""Texts of a Feast repository: settings, definitions, the script that writes training rows, and a page on its use."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from churnops.schema import Column, Schema

TIMESTAMP = "event_timestamp"
ROWS = "customers.parquet"
OUTCOMES = "outcomes.parquet"
TRAINING = "training_rows.parquet"
SERVICE = "churnops"
"""Name of the Feast service whose features are the columns of the Schema."""
_TYPES: Mapping[str, str] = MappingProxyType({"number": "Float64", "integer": "Int64"})

_SETTINGS = """\
# Settings of Feast; https://docs.feast.dev describes other stores. Paths count from this folder.
project: churnops
provider: local
registry: registry.db
offline_store:
  type: file
online_store:
  type: sqlite
  path: online_store.db
entity_key_serialization_version: 3
"""

_DEFINITIONS = '''\
"""Customers of the churn model. `feast apply` reads these definitions."""

from datetime import timedelta

from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
from feast.types import Float64, Int64, String

customer = Entity(name="customer", join_keys=[{identifier}], value_type=ValueType.STRING)

# A row holds from its time until the next row of the customer.
rows = FileSource(name="customer_rows", path="{path}", timestamp_field="{timestamp}")

columns = FeatureView(
    name="customer_columns",
    entities=[customer],
    ttl=timedelta(0),
    schema=[
{columns}    ],
    source=rows,
)
{derived}
# churnops reads the features of this service, for training and for predictions.
service = FeatureService(name="{service}", features=[columns])
'''

_DERIVED = """\

# For other readers: churnops computes these from the columns.
derived = FeatureView(
    name="customer_derived",
    entities=[customer],
    ttl=timedelta(0),
    schema=[
{columns}    ],
    source=rows,
)
"""

_TRAINING = '''\
"""Write {training}: each row of {outcomes} with the customer's features at that time. Needs Feast."""

from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
from feast import FeatureStore


def main() -> None:
    folder = Path(__file__).resolve().parent
    store = FeatureStore(repo_path=str(folder))
    outcomes = pd.read_parquet(folder / "{outcomes}")
    features = store.get_feature_service("{service}")
    table = store.get_historical_features(entity_df=outcomes, features=features).to_arrow()
    {time}
    unfinished = folder / ".{training}"
    pq.write_table(table, unfinished)
    unfinished.replace(folder / "{training}")
    print(f"{{table.num_rows}} rows in {training}")


if __name__ == "__main__":  # `feast apply` imports every file
    main()
'''

_PAGE = """\
# A Feast repository of churnops

In an environment of its own, because Feast needs other versions of libraries than churnops:

    pip install feast==0.67.0
    cd THIS_FOLDER
    feast apply
    python training_rows.py                                        # writes {training}
    feast materialize 1970-01-01T00:00:00 "$(date -u +%FT%T)"      # newest row of each customer to the online store
    feast serve

Then, in `config.yaml` of churnops, `features: {{source: feast}}`.

| file | content |
|---|---|
| `feature_store.yaml` | stores of Feast: files and SQLite, until you name others |
| `definitions.py` | entity, source, views, and the service `{service}`, which churnops reads |
| `{rows}` | columns and derived columns of each customer, with the time from which they hold |
| `{outcomes}` | customers, times and outcomes of the training rows |
| `training_rows.py` | joins the two point-in-time into `{training}` |
"""


class Definition(NamedTuple):
    """A feature: its name, its type in Feast, and a description."""

    name: str
    type: str
    description: str


def definition_of(column: Column) -> Definition:
    """Return the feature of a column. Categories, flags and dates are texts, as in the API."""
    return Definition(column.name, _TYPES.get(column.kind, "String"), column.description)


def repository_texts(schema: Schema, columns: Iterable[Definition], derived: Iterable[Definition]) -> dict[str, str]:
    """Return the texts of the repository's files by name; `schema` has a column of kind `id`."""
    assert schema.identifier is not None
    names = {"service": SERVICE, "rows": ROWS, "outcomes": OUTCOMES, "training": TRAINING}
    derived_fields = _fields(derived)
    definitions = _DEFINITIONS.format(
        identifier=f'"{schema.identifier.name}"',
        path=ROWS,
        timestamp=TIMESTAMP,
        service=SERVICE,
        columns=_fields(columns),
        derived=_DERIVED.format(columns=derived_fields) if derived_fields else "",
    )
    if schema.time is None:
        time = f'table = table.drop_columns(["{TIMESTAMP}"])'
    else:
        time = f'table = table.rename_columns({{"{TIMESTAMP}": "{schema.time.name}"}})'
    return {
        "feature_store.yaml": _SETTINGS,
        "definitions.py": definitions,
        "training_rows.py": _TRAINING.format(time=time, **names),
        "README.md": _PAGE.format(**names),
    }


def _fields(definitions: Iterable[Definition]) -> str:
    lines = []
    for name, type_, description in definitions:
        described = f", description={description!r}" if description else ""
        lines.append(f'        Field(name="{name}", dtype={type_}{described}),\n')
    return "".join(lines)
