"""Outcome: how a retraining run ended."""

from collections.abc import Mapping
from typing import Literal

Status = Literal["deployed", "kept", "cannot tell", "rolled back", "not permitted", "failed"]
STATUS_LABELS: Mapping[str, str] = {
    "deployed": "the new model is deployed",
    "kept": "the deployed model stays",
    "cannot tell": "there is not enough evidence, the deployed model stays",
    "rolled back": "the new model failed its check, the earlier one is deployed again",
    "not permitted": "nothing was trained",
    "failed": "the retraining ended with an error",
}
