"""Queries on PostgreSQL, scored: the scores of the same rows in a file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest

from churnops.errors import DataError
from churnops.scoring.file import FileScorer, ScoredFile
from churnops.training.train import TrainedModels
from tests.support.kills import KilledError
from tests.support.postgres import Cluster
from tests.support.projects import LATER, write_project

pytestmark = pytest.mark.needs("postgresql")
TYPES = {pl.String: "text", pl.Int64: "integer", pl.Float64: "numeric", pl.Boolean: "boolean"}


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, trained: TrainedModels, cluster: Cluster) -> Iterator[Path]:
    """A project with a deployed model, the later customers as `in.csv` and, with a column `notes`, as `in.sql`."""
    folder = tmp_path_factory.mktemp("queries")
    write_project(folder)
    trained.refit.save(folder / "models/versions/a")
    (folder / "models/production").symlink_to("versions/a")
    table = pl.read_csv(LATER).with_row_index("n")
    table.drop("n").write_csv(folder / "in.csv")
    server = cluster.url.replace("+psycopg", "")
    url = server.rpartition("/")[0] + "/later"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("CREATE DATABASE later ENCODING 'UTF8' TEMPLATE template0")
        with psycopg.connect(url) as own:
            columns = ", ".join(f'"{name}" {TYPES.get(type(kind), "integer")}' for name, kind in table.schema.items())
            own.execute(f"CREATE TABLE customers ({columns}, notes jsonb DEFAULT '[1]')")
            names = ", ".join(f'"{name}"' for name in table.columns)
            with own.cursor().copy(f"COPY customers ({names}) FROM STDIN (FORMAT csv)") as copy:
                copy.write(table.write_csv(include_header=False))
        columns = ", ".join(f'"{name}"' for name in table.columns[1:])
        text = f"-- {url}\nSELECT {columns}, notes FROM customers WHERE n < 1200 ORDER BY n"
        (folder / "in.sql").write_text(text)
        yield folder
        connection.execute("DROP DATABASE later")


def predict(here: Path, source: str, target: Path, **callbacks: Any) -> ScoredFile:
    return FileScorer(here / "models", explain=True, rows=500).score(here / source, target, **callbacks)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_query_gives_the_scores_of_a_file(here: Path, tmp_path: Path, ending: str) -> None:
    read = pl.read_csv if ending == "csv" else pl.read_parquet
    predict(here, "in.csv", tmp_path / f"file.{ending}")
    done = predict(here, "in.sql", tmp_path / f"query.{ending}")
    file, query = read(tmp_path / f"file.{ending}").head(1200), read(tmp_path / f"query.{ending}")
    assert query.columns == [*file.columns[:-6], "notes", *file.columns[-6:]]
    assert query[file.columns[-6:]].equals(file[file.columns[-6:]])
    assert set(query["notes"]) == {"[1]"}
    assert (done.rows, done.resumed_rows) == (1200, 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"file.{ending}", f"query.{ending}"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, KilledError])
def test_an_interrupted_query_starts_again(here: Path, tmp_path: Path, error: type[BaseException]) -> None:
    def stop(done: int, share: float) -> None:
        if done == 500:
            raise error

    with pytest.raises(error):
        predict(here, "in.sql", tmp_path / "out.csv", on_rows=stop)
    assert not list(tmp_path.iterdir())
    assert predict(here, "in.sql", tmp_path / "out.csv").rows == 1200


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            '"Total day calls"',
            '(CASE n WHEN 700 THEN -1 ELSE 1 END) AS "Total day calls"',
            r"^broken\.sql: .*\(row 701\)",
        ),
        ("n < 1200", "1 / (n - 700) < 2", "division by zero"),
        ("customers", "clients", 'relation "clients" does not exist'),
    ],
)
def test_errors_leave_nothing(here: Path, tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "broken.sql"
    path.write_text((here / "in.sql").read_text().replace(old, new))
    with pytest.raises(DataError, match=message) as caught:
        predict(here, str(path), tmp_path / "out.csv")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == [path]
