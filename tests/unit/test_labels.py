"""Every metric, trigger, test, cause, verdict and outcome has a label, and no label is of something else."""

from typing import get_args

import pytest

from churnops.evaluation import METRIC_LABELS, METRICS
from churnops.journal import deployment_log
from churnops.monitoring import budget
from churnops.monitoring.drift import finding
from churnops.retraining import gate, outcome, policy

TESTS = ("ks", "chi_square", "missing_rate", "unseen_categories", "rarity", "level_rates")


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (METRIC_LABELS, METRICS),
        (budget.TRIGGER_LABELS, get_args(budget.TriggerName)),
        (budget.REASON_PREFIXES, get_args(budget.TriggerName)),
        (finding.TEST_LABELS, TESTS),
        (finding.EFFECT_LABELS, TESTS),
        (policy.CAUSE_LABELS, get_args(policy.Cause)),
        (gate.VERDICT_LABELS, get_args(gate.Verdict)),
        (outcome.STATUS_LABELS, get_args(outcome.Status)),
        (deployment_log.KIND_LABELS, get_args(deployment_log.Kind)),
    ],
)
def test_each_name_has_a_label(labels: dict[str, str], names: tuple[str, ...]):
    assert set(labels) == set(names)
    assert all(labels.values())
    assert len(set(labels.values())) == len(labels)
