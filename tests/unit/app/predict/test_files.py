"""A file of customers on the Predict page, without Streamlit: the scored file, the ranking, refusals."""

import io
import json

import polars as pl
import pytest

from churnops.app.predict import upload
from churnops.app.predict.answers import BundleAnswers, NotAnswered
from churnops.app.predict.risk import level
from churnops.app.predict.upload import score_file
from churnops.model import Bundle
from churnops.pipelines.run_all import RunSummary
from churnops.schema import RESERVED
from churnops.scoring.csv_answer import csv_of
from churnops.settings import Settings
from tests.support.projects import LATER


@pytest.fixture(scope="module")
def bundle(project: tuple[Settings, RunSummary]) -> Bundle:
    return Bundle.load((project[0].root / "models/production").resolve())


@pytest.fixture(scope="module")
def lines() -> list[str]:
    """The header and thirty customers of the later table."""
    return LATER.read_text().splitlines()[:31]


def scored(bundle: Bundle, content: bytes, name: str = "later.csv") -> upload.ScoredUpload:
    answers = BundleAnswers(bundle)
    return score_file(name, content, answers, answers.card(), bundle)


def csv(lines: list[str]) -> bytes:
    return "\n".join(lines).encode()


def parquet(table: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    table.write_parquet(buffer)
    return buffer.getvalue()


def test_a_file_returns_whole_in_order_with_scores_and_reasons(bundle: Bundle, lines: list[str]):
    found = scored(bundle, csv(lines))
    table = pl.read_csv(found.content)
    given = pl.read_csv(csv(lines))
    assert table.select(given.columns).equals(given)
    assert table.columns[len(given.columns) :] == [
        "churn_probability",
        "churn_prediction",
        "model_version",
        "base_value",
        "explanation_scale",
        "top_shap_features",
    ]
    expected = [
        BundleAnswers(bundle).one(row).probability
        for row in given.drop("Churn").cast({"Area code": pl.String}).iter_rows(named=True)
    ]
    assert table["churn_probability"].to_list() == expected
    assert all(len(json.loads(reasons)) == 6 for reasons in table["top_shap_features"])
    assert (found.name, found.media_type, found.rows) == ("later-scored.csv", "text/csv", 30)
    assert found.leaving == (table["churn_probability"] >= bundle.threshold).sum()
    assert found.version == bundle.version_name


def test_parquet_and_csv_give_the_same_scores_and_the_same_ranking(bundle: Bundle, lines: list[str]):
    typed = pl.read_csv(csv(lines), schema_overrides={"Area code": pl.String})
    found = scored(bundle, parquet(typed), "C:\\data\\Später.PARQUET")
    assert found.risks.equals(scored(bundle, csv(lines)).risks)
    assert pl.read_parquet(found.content).height == 30
    assert found.media_type == "application/vnd.apache.parquet"


def test_the_list_is_ranked_by_risk_with_rows_and_three_reasons(bundle: Bundle, lines: list[str]):
    found = scored(bundle, csv(lines))
    chances = pl.read_csv(found.content)["churn_probability"].to_list()
    assert found.risks.columns == [
        "Rank",
        "Row",
        "Probability",
        "Risk",
        "First reason",
        "Second reason",
        "Third reason",
    ]
    assert found.risks["Rank"].to_list() == list(range(1, 31))
    assert found.risks["Probability"].to_list() == sorted(chances, reverse=True)
    assert [chances[row - 1] for row in found.risks["Row"]] == found.risks["Probability"].to_list()
    told_reasons = found.risks.select("First reason", "Second reason", "Third reason").rows()
    assert all("the risk" in text or "no effect" in text for row in told_reasons for text in row)
    assert found.risks["Risk"].to_list() == [level(chance, bundle.threshold).word for chance in sorted(chances)[::-1]]


def test_ids_of_a_file_are_listed_as_text_no_spreadsheet_computes(bundle: Bundle, lines: list[str]):
    header, *rows = lines
    ids = ["007", "=1+1", "<b>evil</b>", *(f"C-{place}" for place in range(27))]
    found = scored(
        bundle, csv([f"customer_id,{header}", *(f"{one},{row}" for one, row in zip(ids, rows, strict=True))])
    )
    by_row = dict(zip(found.risks["Row"], found.risks["Customer"], strict=True))
    assert [by_row[row] for row in range(1, 31)] == ids
    assert ",'=1+1," in csv_of(found.risks, safe=True).decode()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\x00\xff\xfe", "binary"),
        (b"State,State\n1,2\n", "several columns have the header"),
        (b"a,b\n1,2,3\n", "row 1"),
        (None, "no rows"),
    ],
)
def test_a_file_that_is_no_table_is_one_line_without_a_path(
    bundle: Bundle, lines: list[str], content: bytes | None, said: str
):
    with pytest.raises(NotAnswered) as error:
        scored(bundle, lines[0].encode() if content is None else content)
    assert said in str(error.value)
    assert "/" not in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["customers.xlsx", "customers", "x.csv.exe", "<img src=x>\x00"])
def test_only_csv_and_parquet_are_taken(bundle: Bundle, name: str):
    with pytest.raises(NotAnswered, match=r"must end in \.csv or \.parquet"):
        scored(bundle, b"", name)


def test_every_broken_rule_of_a_file_is_listed_once_with_examples(bundle: Bundle, lines: list[str]):
    header, *rows = lines
    cells = [row.split(",") for row in rows]
    for place, cell in enumerate(cells):
        cell[3] = f"{place % 2}maybe"
    cells[3][6] = "-5"
    bad = [",".join(cell) for cell in cells]
    with pytest.raises(NotAnswered, match=r"^Nothing was scored: 2 rules of the customer table are broken\.$") as error:
        scored(bundle, csv([header, *bad]))
    plan, minutes = sorted(error.value.broken, key=lambda rule: rule.column)
    assert plan.column.startswith("international_plan")
    assert plan.problem.count("0maybe") == 1
    assert plan.rows == "1, 2, 3, 4, 5, …"
    assert minutes.column.startswith("total_day_minutes")
    assert minutes.rows == "4"


def test_a_file_beyond_the_limits_is_refused_with_the_command(
    bundle: Bundle, lines: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(upload, "MAX_ROWS", 29)
    typed = pl.read_csv(csv(lines), schema_overrides={"Area code": pl.String})
    for content, name in ((csv(lines), "a.csv"), (parquet(typed), "a.parquet")):
        with pytest.raises(NotAnswered, match=r"more than 29 customers\. .*churnops predict"):
            scored(bundle, content, name)
    monkeypatch.setattr(upload, "MAX_MIB", 0)
    with pytest.raises(NotAnswered, match=r"larger than 0 MiB\. .*churnops predict"):
        scored(bundle, csv(lines))


def test_a_file_scored_before_is_scored_again(bundle: Bundle, lines: list[str]):
    once = scored(bundle, csv(lines))
    again = scored(bundle, once.content)
    assert again.content == once.content
    assert once.replaced == ()
    assert again.replaced == RESERVED[:6]  # only the API adds the others
