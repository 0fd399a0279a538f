"""Commands, API and files answer as before. `tests/golden/__init__.py` describes intended changes."""

import os

import pytest

from tests.golden.topics import TOPICS, difference


@pytest.mark.parametrize("topic", TOPICS)
def test_answers_equal_the_golden_ones(topic: str):
    diff = difference(topic, within=os.environ.get("PYTEST_DEBUG_TEMPROOT"))  # not `tmp_path`: long paths wrap lines
    hint = f"if that is meant: python -m tests.golden --write {topic}"
    assert not diff, f"answers of today differ from {topic}.json; {hint}\n{diff}"
