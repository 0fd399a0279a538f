"""The policy: conditions of a retraining, and a reason for every "no"."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from churnops.retraining.policy import Situation, permit, scheduled
from churnops.settings import RetrainingSettings

NOW = datetime(2026, 11, 20, tzinfo=UTC)
DAY = timedelta(days=1)
ENOUGH = Situation("monitoring", NOW, NOW - 10 * DAY, due=1000, labelled=950, unseen=900, new=900)


def test_enough_new_labels_are_a_reason():
    permission = permit(ENOUGH, RetrainingSettings())
    assert permission.value
    assert permission.reasons == ("900 customers with known outcomes are new to the deployed model",)


@pytest.mark.parametrize(
    ("change", "settings", "says"),
    [
        ({"unseen": 0}, {}, "no customer with a known outcome is new"),
        ({"labelled": 799}, {}, "799 of 1,000 due outcomes are known, but 80% are needed"),
        ({"unseen": 499, "new": 499}, {}, "499 customers with known outcomes are new, but 500 are needed"),
        ({"new": 400}, {}, "400 customers with known outcomes are new since the last comparison, but 500 are needed"),
        ({"new": 0}, {}, "0 customers with known outcomes are new since the last comparison"),
        ({}, {"retraining_cooldown_days": 11}, "deployed 10.0 days ago, and the cooldown is 11 days"),
    ],
)
def test_a_refusal_names_its_reason(change: dict[str, int], settings: dict[str, float], says: str):
    permission = permit(replace(ENOUGH, **change), RetrainingSettings(**settings))
    assert not permission.value
    assert any(says in reason for reason in permission.reasons), permission.reasons


def test_a_refusal_names_all_reasons_at_once():
    situation = replace(ENOUGH, unseen=100, new=100, labelled=100)
    permission = permit(situation, RetrainingSettings(retraining_cooldown_days=30))
    assert len(permission.reasons) == 3


def test_a_cooldown_ends_to_the_moment():
    settings = RetrainingSettings(retraining_cooldown_days=10)
    assert permit(ENOUGH, settings).value
    assert not permit(replace(ENOUGH, now=NOW - timedelta(microseconds=1)), settings).value


def test_without_a_cooldown_a_clock_behind_the_log_does_not_matter():
    assert permit(replace(ENOUGH, deployed_at=NOW + DAY), RetrainingSettings()).value


def test_where_no_deployment_is_known_there_is_nothing_to_wait_for():
    settings = RetrainingSettings(retraining_cooldown_days=10, every_days=1)
    assert permit(replace(ENOUGH, deployed_at=None), settings).value
    assert not scheduled(settings, None, NOW)


def test_a_persons_request_skips_the_cooldown_but_needs_labels():
    settings = RetrainingSettings(retraining_cooldown_days=30)
    asked = replace(ENOUGH, cause="by hand", unseen=3, new=0)
    assert permit(asked, settings).value
    assert not permit(replace(asked, unseen=0), settings).value
    assert not permit(replace(asked, labelled=10), settings).value


def test_a_schedule_is_for_old_models_and_off_by_default():
    assert not scheduled(RetrainingSettings(), NOW - 1000 * DAY, NOW)
    weekly = RetrainingSettings(every_days=7)
    assert scheduled(weekly, NOW - 7 * DAY, NOW)
    assert not scheduled(weekly, NOW - 6 * DAY, NOW)
