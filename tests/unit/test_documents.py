"""Published documents: their schemas equal those of the models, and a document is read as it was written."""

import json

import pytest
from scripts.schemas import PUBLISHED, content, path

from churnops.document import Document, Moment, Number
from churnops.retraining.document import SummaryDocument


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_the_published_schema_is_that_of_the_model(name: str):
    assert path(name).read_text(encoding="utf-8") == content(PUBLISHED[name]), "run `make schema`"


class Part(Document):
    at: Moment
    effect: Number
    names: tuple[str, ...]


def test_a_wrong_value_is_refused_in_writing_and_unknown_in_reading():
    given = {"at": "2026-11-24T14:14:28+01:00", "effect": "large", "names": ["a"]}
    with pytest.raises(ValueError, match="effect"):
        Part.model_validate(given)
    assert Part.read(given).to_json() == {"at": "2026-11-24T13:14:28+00:00", "effect": None, "names": ["a"]}


@pytest.mark.parametrize("at", ["yesterday", "2026-11-24T14:14:28", "0001-01-01T00:00:00+14:00", 3, [], None])
def test_a_time_that_is_none_is_unknown(at: object):
    assert Part.read({"at": at}).at is None


def test_lists_and_texts_are_read_up_to_their_limits():
    names = Part.read({"names": ["x" * 3000] * 100}).names
    assert (len(names), len(names[0])) == (50, 2000)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**400, True, "1", [], {"x": 1}], ids=str)
def test_hostile_values_in_any_depth_are_unknown(value: object):
    given = {"status": "kept", "rows": {"train": value}, "seconds": {"1/7": value}, "candidates": {"a": value}}
    found = SummaryDocument.read(given | {"held_out": {"a": {"metrics": {"roc_auc": {"value": value}}}}})
    assert found.total_seconds is None
    assert found.candidates is not None
    assert found.candidates["a"].held_out_roc_auc is None
    json.dumps(found.to_json(), allow_nan=False)
