"""An error while another one is handled: neither hides it, nor ends what must go on."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from churnops.api import service
from churnops.api.service import Service
from churnops.errors import JournalError, RegistryError
from churnops.pipelines.aftermath import Aftermath
from churnops.pipelines.release import _roll_back


def test_alerts_that_fail_do_not_hide_a_model_that_cannot_roll_back():
    def rollback(*_: object) -> None:
        raise RegistryError("the folder is damaged")

    def announce(*_: object) -> None:
        raise JournalError("the journal does not answer")

    deployed, alerts = SimpleNamespace(rollback=rollback), SimpleNamespace(announce=announce)
    bundle, check, aftermath = SimpleNamespace(version_name="forest-1"), SimpleNamespace(reason="refused"), Aftermath()
    aftermath.deployed = True
    with pytest.raises(RegistryError, match=r"the rollback failed: the folder is damaged; .*journal does not answer"):
        _roll_back(*cast("tuple[Any, ...]", (deployed, alerts, bundle, check, None, aftermath)))


def test_deployments_are_followed_whatever_is_wrong_with_the_log(monkeypatch: pytest.MonkeyPatch):
    looks = 0

    async def refresh_model() -> None:
        nonlocal looks
        looks += 1
        if looks == 3:
            raise asyncio.CancelledError

    def rest() -> None:
        raise OSError("no such file")

    monkeypatch.setattr(service, "LOOK_SECONDS", 0.0)
    serving = cast("Any", Service.__new__(Service))
    serving.refresh_model, serving._log, serving._failing = refresh_model, SimpleNamespace(rest=rest), {}
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(serving.look())
    assert looks == 3
