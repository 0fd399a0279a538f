"""Conclusions: the result of a main job or a retraining, in the pipeline's own run of MLflow."""

import json
from collections.abc import Iterable

from churnops.evaluation.held_out import CARD, EvaluatedModels, further_metrics
from churnops.evaluation.metrics import Evaluation
from churnops.model import Bundle
from churnops.pipelines.release import Release
from churnops.retraining.gate import Decision
from churnops.retraining.outcome import STATUS_LABELS
from churnops.retraining.pipeline import CHAMPION, STEPS, Retrained
from churnops.retraining.summary import RetrainingSummary
from churnops.step import StepResult
from churnops.tracking import PipelineRun
from churnops.training.train import TrainedModels
from churnops.words import capital


def conclude_run(
    run: PipelineRun, trained: TrainedModels, evaluated: EvaluatedModels, released: Release, fact: str
) -> None:
    """Log the main job's result: the winner's parameters and metrics, and the decision.

    Parameters
    ----------
    fact
        The winner's performance in a few words.
    """
    winner = evaluated.winner
    _log_test_metrics(run, trained.models, evaluated)
    result = StepResult(
        params={"winner": winner, "model": released.model_version, **trained.models[winner].params},
        metrics=_values(evaluated.evaluations[winner], "")
        | further_metrics(evaluated.metrics_without, evaluated.random_split)
        | _compared(released.decision),
        artifacts={"decision.json": json.dumps(released.to_json(), indent=2, default=str)},
    )
    links = _links(run, released.version, "decision.json")
    description = f"**{released.headline}.** {capital(released.reason)}.\n\n{links}\n\n{fact}."
    tags = {"status": released.status, "model_version": str(released.version), "reason": released.reason}
    run.conclude(result, description, tags)


def conclude_retraining(run: PipelineRun, summary: RetrainingSummary, retrained: Retrained, champion: Bundle) -> None:
    """Log a retraining's result: the metrics of both models, the decision and the summary."""
    winner, evaluations = retrained.trained.winner, retrained.evaluated.evaluations
    _log_test_metrics(run, retrained.trained.models, retrained.evaluated)
    name, content = summary.file()
    result = StepResult(
        params={
            "champion": champion.version_name,
            "challenger": retrained.challenger.version_name,
            "winner": winner,
            "cause": summary.cause,
        },
        metrics=_values(evaluations[CHAMPION], "champion_") | _values(evaluations[winner], "challenger_"),
        artifacts={"decision.json": json.dumps(retrained.decision.to_json(), indent=2), name: content},
    )
    reasons = "".join(f"\n- {reason}" for reason in summary.because)
    status = capital(STATUS_LABELS[summary.status])
    links = _links(run, summary.version, "decision.json", name)
    description = f"**{status}.** {capital(summary.reason)}.\n\n{links}\n\nCause: {summary.cause}\n{reasons}"
    tags = {"status": summary.status, "model_version": str(summary.version), "reason": summary.reason}
    run.conclude(result, description, tags)


def _compared(decision: Decision | None) -> dict[str, float]:
    """Return the metric by which the gate compared the champion and the challenger, for both."""
    if decision is None or decision.champion is None or decision.challenger is None:
        return {}
    return {f"champion_{decision.metric}": decision.champion, f"challenger_{decision.metric}": decision.challenger}


def _log_test_metrics(run: PipelineRun, families: Iterable[str], evaluated: EvaluatedModels) -> None:
    """Add the metrics of the evaluation to the nested run of each evaluated model."""
    for family in evaluated.evaluations.keys() & families:
        metrics = _values(evaluated.evaluations[family], "test_")
        run.add(family, StepResult(metrics=metrics, datasets=evaluated.datasets))


def _links(run: PipelineRun, version: int | None, *files: str) -> str:
    """Return Markdown links to the evaluation, to files of the pipeline's run, and to the registered version."""
    pages = [run.link(name, STEPS[5], name) for name in ("evaluation.html", CARD)]
    links = [*pages, *(run.link(name, None, name) for name in files)]
    return " · ".join([*links, run.version_link(version)] if version else links)


def _values(evaluation: Evaluation, prefix: str) -> dict[str, float]:
    return {f"{prefix}{name}": metric.value for name, metric in evaluation.metrics.items()}
