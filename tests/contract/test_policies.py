"""Decision policies, on every database."""

from threading import Thread

import pytest
from sqlalchemy import Engine, create_engine

from churnops.decision.in_force import earlier_policy, newest_policy, policy_at, set_policy
from churnops.decision.policy import DecisionPolicy
from churnops.errors import PolicyError
from churnops.journal.policies import PolicyLog
from tests.support.journals import LASTING, migrate_to

OFFER = DecisionPolicy(threshold=0.2, cost=10, value="monthly_charges", success_rate=0.25, currency="EUR")


def test_the_newest_policy_is_in_force_with_who_and_why(engine: Engine):
    log = PolicyLog(engine)
    assert newest_policy(log) == DecisionPolicy()
    first = set_policy(log, OFFER, by="ann", reason="spring\n offer")
    assert (first.version, first.by, first.reason, first.terms()) == (1, "ann", "spring offer", OFFER.terms())
    set_policy(log, OFFER.model_copy(update={"threshold": 0.3}), by="bob", reason="fewer calls")
    assert newest_policy(log).threshold == 0.3
    assert [entry.by for entry in log.newest(10)] == ["bob", "ann"]
    assert earlier_policy(log) == first
    assert earlier_policy(log, 0) == DecisionPolicy()


def test_a_policy_without_a_reason_or_a_change_is_refused(engine: Engine):
    log = PolicyLog(engine)
    with pytest.raises(PolicyError, match="nobody has set"):
        earlier_policy(log)
    with pytest.raises(PolicyError, match="needs a reason"):
        set_policy(log, OFFER, by="ann", reason=" \n")
    set_policy(log, OFFER, by="ann", reason="offer")
    with pytest.raises(PolicyError, match="in force already \\(version 1\\)"):
        set_policy(log, OFFER, by="ann", reason="again")
    with pytest.raises(PolicyError, match=r"no version 7 .* 0 to 1"):
        earlier_policy(log, 7)
    assert len(log.newest(10)) == 1


@pytest.mark.parametrize("url", LASTING, indirect=True)
def test_two_processes_never_write_one_version_twice(engine: Engine):
    def add(log: PolicyLog) -> None:
        for number in range(5):
            log.add({"contacts": number + 1}, "ann", "race")

    threads = [Thread(target=add, args=(PolicyLog(engine),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [entry.version for entry in PolicyLog(engine).newest(20)] == list(range(10, 0, -1))


def test_a_change_of_a_policy_that_is_no_longer_in_force_is_refused(engine: Engine):
    log = PolicyLog(engine)
    set_policy(log, OFFER, by="ann", reason="offer", after=0)
    with pytest.raises(PolicyError, match="decision policy 1 was set meanwhile"):
        set_policy(log, DecisionPolicy(threshold=0.3), by="bob", reason="fewer calls", after=0)
    assert set_policy(log, DecisionPolicy(threshold=0.3), by="bob", reason="fewer calls", after=1).version == 2


@pytest.mark.parametrize("url", LASTING, indirect=True)
def test_the_policy_is_read_from_the_address_alone(url: str, engine: Engine):
    assert policy_at(url) == DecisionPolicy()
    policy = set_policy(PolicyLog(engine), OFFER, by="ann", reason="offer")
    assert policy_at(url) == policy


@pytest.mark.parametrize("url", LASTING, indirect=True)
def test_an_older_journal_has_no_policy_and_is_not_migrated(url: str):
    older = create_engine(url)
    with older.begin() as connection:
        migrate_to(connection, "0009")
    assert policy_at(url) == DecisionPolicy()
    with older.begin() as connection:
        assert connection.exec_driver_sql("SELECT version_num FROM churnops_schema_version").scalar() == "0009"
    older.dispose()
