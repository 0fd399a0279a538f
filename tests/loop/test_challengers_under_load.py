"""Challengers that fail, vanish or hang while clients are asking: every answer comes, from the model it names."""

import asyncio
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from churnops.experiments.assignment import arm_of
from churnops.experiments.experiment import start_experiment
from churnops.journal.experiments import Experiment, Kind
from churnops.model import Bundle
from churnops.project import Project
from churnops.settings import Settings
from tests.support.load import Load, Recomputed, check_recorded
from tests.support.processes import until
from tests.support.serving import Server, sqlite_rows

ANSWERS = 150
SHARES: dict[Kind, float] = {"shadow": 1.0, "split": 0.3}
KINDS = pytest.mark.parametrize("kind", SHARES)
FAULTY = """
import sys, threading, time

fault, challenger, *arguments = sys.argv[1:]
sys.argv[1:] = arguments

from churnops.api import split
from churnops.model import Bundle

if fault == "slow":  # by its processor time alone: a busy machine must not let it hang
    split.WAIT_SECONDS = 60.0

def fails():
    raise ValueError("a defect of the challenger")

def slow():
    end = time.thread_time() + 0.15
    while time.thread_time() < end:
        pass

def hangs():
    threading.Event().wait()

def faulty(method):
    def call(self, *arguments):
        # Loading scores, too, in another thread.
        is_serving = threading.current_thread().name.startswith(("challenger", "shadow"))
        if is_serving and self.content_sha256 == challenger:
            globals()[fault]()
        return method(self, *arguments)
    return call

Bundle.answer, Bundle.predict = faulty(Bundle.answer), faulty(Bundle.predict)

from churnops.cli import main

main()
"""
"""`churnops` with a fault in the challenger: arguments are the fault, the challenger's content hash and a command's."""


@dataclass(frozen=True)
class Trial:
    """An experiment among requests: the project, the requests, and both models."""

    project: Project
    load: Load
    champion: Bundle
    challenger: Bundle

    def server(self, fault: str | None = None) -> Server:
        """Return the service, with a fault in its challenger."""
        if fault is None:
            return Server(self.project.settings)
        command = (sys.executable, "-c", FAULTY, fault, self.challenger.content_sha256, "serve")
        return Server(self.project.settings, command=command)

    def start(self, kind: Kind) -> Experiment:
        with self.project.folder.locked():
            return start_experiment(self.project, kind, self.challenger, 2, SHARES[kind], "ann", "")

    async def more(self) -> None:
        """Wait for further answers, none of which is refused."""
        known = len(self.load.acknowledged)
        await until("answers", lambda: self.load.refused or len(self.load.acknowledged) >= known + ANSWERS)
        assert [asked.answer for asked in self.load.refused] == []

    async def until_noted(self, experiment: Experiment, condition: Callable[[dict[str, Any]], object]) -> None:
        """Wait until the state and details of an experiment meet a condition, and for more answers."""
        await self.more()
        await until("the experiment shows the fault", lambda: condition(self.read(experiment)))
        await self.more()

    def read(self, experiment: Experiment) -> dict[str, Any]:
        kept = self.project.experiments.get(experiment.id)
        assert kept is not None
        return {"state": kept.state, **kept.details}

    def check(self, experiment: Experiment) -> list[dict[str, Any]]:
        """Fail unless every answer is the one of the model and arm that it names; return the answers."""
        assert len(self.load.acknowledged) == len(self.load.asked)  # none failed or was torn
        assert check_recorded(sqlite_rows(self.project.settings), self.load) == 0
        recomputed = Recomputed(self.load.customers, (self.champion, self.challenger))
        answers = []
        for asked in self.load.acknowledged:
            assert asked.answer is not None
            answer = asked.answer.json()
            recomputed.check(asked.row, answer)
            arm = answer.get("experiment_arm")
            if arm is not None:
                assert arm == arm_of(experiment.id, experiment.share, asked.customer_id)
            assert arm == "challenger" or answer["model_version"] == self.champion.version_name
            answers.append(answer)
        return answers


@pytest.fixture
def trial(
    make_settings: Callable[[], Settings], bundles: tuple[Bundle, Bundle], customers: list[dict[str, Any]]
) -> Iterator[Trial]:
    with Project.open(make_settings()) as project:
        champion = project.require_deployed()
        other = next(bundle for bundle in bundles if bundle.version_name != champion.version_name)
        yield Trial(project, Load(customers), champion, other)


def challenged(answers: list[dict[str, Any]], trial: Trial) -> set[str]:
    """Return the versions that answered the challenger's arm."""
    return {answer["model_version"] for answer in answers if answer.get("experiment_arm") == "challenger"}


@KINDS
def test_a_failing_challenger_costs_no_answer(trial: Trial, kind: Kind):
    async def fail(server: Server) -> Experiment:
        async with trial.load.on(server.port):
            await trial.more()
            experiment = trial.start(kind)
            noted = "dropped" if kind == "shadow" else "fell_back"
            await trial.until_noted(experiment, lambda details: details.get(noted))
        return experiment

    with trial.server("fails") as server:
        experiment = asyncio.run(fail(server))
        assert f"of {kind} 1 is loaded" in server.log()
        assert sum("a defect of the challenger" in line for line in server.log().splitlines()) == 1
    answers = trial.check(experiment)
    assert trial.read(experiment)["state"] == "running"
    assert challenged(answers, trial) == ({trial.champion.version_name} if kind == "split" else set())


@pytest.mark.parametrize("fault", ["slow", "hangs"])
def test_a_slow_or_hanging_challenger_of_a_split_costs_no_answer(trial: Trial, fault: str):
    async def slow(server: Server) -> Experiment:
        async with trial.load.on(server.port):
            await trial.more()
            experiment = trial.start("split")
            await trial.until_noted(experiment, lambda details: details["state"] == "stopped")
        return experiment

    with trial.server(fault) as server:
        experiment = asyncio.run(slow(server))
    answers = trial.check(experiment)
    by_it = [answer for answer in answers if answer["model_version"] == trial.challenger.version_name]
    assert len(by_it) == (3 if fault == "slow" else 0)
    assert trial.read(experiment)["slow_answers"] == 3
    assert "experiment_arm" not in answers[-1]


@pytest.mark.parametrize("fault", ["slow", "hangs"])
def test_a_slow_or_hanging_shadow_costs_no_answer(trial: Trial, fault: str):
    async def slow(server: Server) -> Experiment:
        async with trial.load.on(server.port):
            experiment = trial.start("shadow")
            await until("it is loaded", lambda: "of shadow 1 is loaded" in server.log())
            await trial.more()
        return experiment

    with trial.server(fault) as server:
        experiment = asyncio.run(slow(server))
    answers = trial.check(experiment)
    assert {answer["model_version"] for answer in answers} == {trial.champion.version_name}


@KINDS
def test_a_challenger_whose_files_are_removed_costs_no_answer(trial: Trial, kind: Kind):
    """The service keeps a loaded challenger; one that starts later does not get it."""

    async def remove(server: Server) -> Experiment:
        async with trial.load.on(server.port):
            experiment = trial.start(kind)
            name = "churnops_shadow_scored_total" if kind == "shadow" else "churnops_split_answers_total"
            await trial.until_noted(experiment, lambda _: server.metric(name) > 0)
            shutil.rmtree(trial.project.folder.versions / experiment.folder)
            await trial.more()
            with ExitStack() as stack:
                later = await asyncio.to_thread(stack.enter_context, trial.server())
                async with trial.load.on(later.port):
                    noted = "dropped" if kind == "shadow" else "fell_back"
                    await trial.until_noted(experiment, lambda details: details.get(noted))
                await asyncio.to_thread(stack.close)
        return experiment

    with trial.server() as server:
        experiment = asyncio.run(remove(server))
    answers = trial.check(experiment)
    both = {trial.champion.version_name, trial.challenger.version_name}
    assert challenged(answers, trial) == (both if kind == "split" else set())
