"""Outcome: how a retraining run ended."""

from collections.abc import Mapping
from typing import Literal

Status = Literal["deployed", "kept", "cannot tell", "rolled back", "not permitted", "failed"]
STATUS_LABELS: Mapping[str, str] = {
    "deployed": "the new model answers",
    "kept": "the model in production stays",
    "cannot tell": "the evidence is not enough, the model in production stays",
    "rolled back": "the new model failed its check, the one before answers again",
    "not permitted": "nothing was trained",
    "failed": "it ended with an error",
}
