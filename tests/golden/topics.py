"""Topics of golden answers: one file each in `answers/`."""

import json
import tempfile
from collections.abc import Callable, Mapping
from difflib import unified_diff
from pathlib import Path
from typing import Any, Final

from tests.golden import api, commands
from tests.golden.project import GoldenProject, golden_project

ANSWERS: Final = Path(__file__).with_name("answers")
TOPICS: Final[Mapping[str, Callable[[GoldenProject], None]]] = {
    "help": commands.help_texts,
    "commands": commands.commands,
    "cycles": commands.cycles,
    "fits": commands.fits,
    "api": api.answers,
    "openapi": api.openapi,
}


def path_of(topic: str) -> Path:
    """Return a topic's file."""
    return ANSWERS / f"{topic}.json"


def replay(topic: str, within: str | None = None) -> str:
    """Return a topic's answers as text, from a copy of the fixture project in a new folder `within` another."""
    with (
        tempfile.TemporaryDirectory(prefix="churnops-golden-", dir=within) as folder,
        golden_project(Path(folder)) as project,
    ):
        TOPICS[topic](project)
        return as_text(project.answers)


def as_text(answers: Mapping[str, Any]) -> str:
    """Format answers so that small changes give small diffs."""
    return json.dumps(answers, indent=1, ensure_ascii=False) + "\n"


def difference(topic: str, lines: int = 200, within: str | None = None) -> str:
    """Return a diff of at most `lines` lines from the golden to the current answers; empty if they are equal."""
    golden = path_of(topic).read_text().splitlines()
    diff = list(unified_diff(golden, replay(topic, within).splitlines(), "golden", "now", lineterm="", n=5))
    more = [f"... and {len(diff) - lines} lines more"] if len(diff) > lines else []
    return "\n".join([*diff[:lines], *more])
