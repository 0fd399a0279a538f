"""The declaration of the customer table."""

import pytest
from pydantic import ValidationError

from churnops.errors import DataError
from churnops.schema import SIMULATED, Schema
from churnops.settings import Settings

TARGET = {"name": "churn", "kind": "target", "choices": ["No", "Yes"]}
MINUTES = {"name": "minutes", "kind": "number", "alias": "Total minutes"}


def test_telecom_requires_what_the_model_needs_and_nothing_else(settings: Settings):
    required = {c.name for c in settings.table.columns if c.required and c.kind != "target"}
    assert required == {
        "account_length",
        "international_plan",
        "voice_mail_plan",
        "number_vmail_messages",
        "total_day_minutes",
        "total_eve_minutes",
        "total_night_minutes",
        "total_intl_minutes",
        "total_day_calls",
        "total_eve_calls",
        "total_night_calls",
        "total_intl_calls",
        "customer_service_calls",
    }
    assert not any(c.nullable for c in settings.table.columns if c.required)
    assert {c.name for c in settings.table.columns if not c.required} == {
        "customer_id",
        "state",
        "area_code",
        "total_day_charge",
        "total_eve_charge",
        "total_night_charge",
        "total_intl_charge",
    }


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ([MINUTES], "at least 2"),
        ([MINUTES, MINUTES | {"name": "other"}], "declared twice"),
        ([MINUTES, {"name": "n", "kind": "number"}], "exactly one column must be of kind target"),
        ([{"name": "x", "kind": "id"}, TARGET], "to predict from"),
        ([MINUTES | {"required": False}, TARGET], "to predict from"),
        ([MINUTES | {"minimum": 2, "maximum": 1}, TARGET], "is above maximum"),
        ([{"name": "plan", "kind": "category"}, TARGET], "needs its choices"),
        ([{"name": "plan", "kind": "flag", "choices": ["a"]}, TARGET], r"\[false value, true value\]"),
        ([MINUTES | {"choices": ["a"]}, TARGET], "has no choices"),
        ([{"name": "plan", "kind": "flag", "choices": ["a", "a"]}, TARGET], "listed twice"),
        ([MINUTES | {"name": "churn_probability"}, TARGET], "is a column that churnops adds"),
        ([TARGET | {"unit": "min"}, MINUTES], "has a unit"),
        ([TARGET | {"minimum": 0}, MINUTES], "only a number or integer"),
        ([MINUTES | {"name": "Total minutes"}, TARGET], "pattern"),
    ],
)
def test_a_contradictory_declaration_is_refused(columns: list[dict[str, object]], reason: str):
    with pytest.raises(ValidationError, match=reason):
        Schema.model_validate({"columns": columns})


def test_both_headers_of_a_column_are_refused():
    schema = Schema.model_validate({"columns": [MINUTES, TARGET]})
    assert schema.rename(["Total minutes", "x"]) == {"Total minutes": "minutes"}
    with pytest.raises(DataError, match=r"minutes \('Total minutes'\) is given twice"):
        schema.rename(["Total minutes", "minutes"])


@pytest.mark.parametrize("header", [{"name": SIMULATED}, {"alias": "Churnops_Simulated"}])
def test_the_column_of_simulated_customers_is_reserved(header: dict[str, str]):
    target = {"name": "churn", "kind": "target", "choices": ["no", "yes"]}
    number = {"name": "minutes", "kind": "number"}
    with pytest.raises(ValidationError, match="churnops adds"):
        Schema.model_validate({"columns": [number | header, number | {"name": "calls"}, target]})


def test_a_schema_without_labels_is_written_as_it_always_was():
    schema = Schema.model_validate({"columns": [MINUTES, TARGET]})
    assert not {"label", "unit"} & set(schema.model_dump(mode="json")["columns"][0])
    labelled = Schema.model_validate({"columns": [MINUTES | {"label": "Talk", "unit": "min"}, TARGET]})
    written = labelled.model_dump(mode="json")
    assert (written["columns"][0]["label"], written["columns"][0]["unit"]) == ("Talk", "min")
    assert Schema.model_validate(written) == labelled
