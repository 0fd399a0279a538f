"""Screens of registered models, of the gate and of API keys."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from churnops.evaluation.metrics import METRIC_LABELS
from churnops.screens.layout import line, plain, table_of, time_text

if TYPE_CHECKING:
    from churnops.journal.deployment_log import InProduction
    from churnops.journal.keys import ApiKey
    from churnops.pipelines.compare import ComparedVersions
    from churnops.pipelines.release import Release
    from churnops.registry import ModelVersion
    from churnops.retraining.gate import Decision

MAX_DEPLOYMENTS = 20


def show_models(
    name: str,
    versions: "Sequence[ModelVersion]",
    history: "Sequence[InProduction]",
    current: str | None,
    console: Console | None = None,
) -> None:
    """Print the deployed model, the registered versions and the deployment history, newest first."""
    console = console or Console()
    line(console, "Deployed", f": {current or 'none, type `churnops run`'}")
    if versions:
        table = table_of(left=("version", "state", "model", "deployed"))
        deployed = {period.deployment.content_sha256: period.deployment.at for period in history}
        for v in versions:
            model = f"{v.algorithm}-{v.content_sha256[:12]}"
            state = v.state(deployed)
            names = [state, *(alias for alias in v.aliases if alias != state)]
            table.add_row(
                str(v.version), plain(", ".join(names)), plain(model), time_text(deployed.get(v.content_sha256))
            )
        console.print(f"[bold]Registered model {name}")
        console.print(table)
    else:
        console.print("No model is registered yet: type `churnops run`")
    if history:
        console.print("[bold]Deployments (UTC)")
        for period in reversed(history[-MAX_DEPLOYMENTS:]):
            console.print(_in_production(period), soft_wrap=True)
        if len(history) > MAX_DEPLOYMENTS:
            console.print(f"[dim]  and {len(history) - MAX_DEPLOYMENTS} earlier ones: see --json", highlight=False)


def show_promotion(promotion: "Release", console: Console | None = None) -> None:
    """Print a promotion's result if the model is deployed, and the gate's verdict if the gate ran."""
    console = console or Console()
    if promotion.status in ("deployed", "unchanged"):
        released_line(console, promotion)
    if promotion.decision is not None:
        show_gate(promotion.decision, console, overruled=promotion.swapped and not promotion.decision.deploy)


def show_gate(decision: "Decision", console: Console | None = None, *, overruled: bool = False) -> None:
    """Print the gate's verdict and its numbers; `overruled`: a person deployed the challenger nevertheless."""
    from churnops.retraining.gate import VERDICT_LABELS

    console = console or Console()
    style = "green" if decision.deploy else "yellow"
    verdict = f"{decision.verdict}: overruled by --force" if overruled else VERDICT_LABELS[decision.verdict]
    console.print(Text.assemble(("gate", "bold"), " ", (verdict, style)))
    if decision.champion is None or decision.challenger is None:
        return
    table = table_of(left=("metric",), right=("deployed", "challenger", "challenger better by", "required"))
    gain = "cannot tell" if decision.gain is None else f"{decision.gain:+.4f}"
    if decision.low is not None and decision.high is not None:
        gain += f" ({decision.low:+.4f} to {decision.high:+.4f})"
    name = METRIC_LABELS[decision.metric]
    numbers = (f"{decision.champion:.4f}", f"{decision.challenger:.4f}")
    table.add_row(name, *numbers, gain, f"more than {decision.min_improvement:g}")
    for guard in decision.guards:
        row = (METRIC_LABELS[guard.name], f"{guard.champion:.4f}", f"{guard.challenger:.4f}")
        better = f"{guard.champion - guard.challenger:+.4f}"
        table.add_row(*row, better, f"at least {-guard.tolerance:g}", style=None if guard.held else "red")
    console.print(table)


def show_comparison(comparison: "ComparedVersions", console: Console | None = None) -> None:
    """Print the gains of the second version with their bounds, and what the gate would decide."""
    console = console or Console()
    (first, first_name), (second, second_name) = comparison.first, comparison.second
    decision = comparison.decision
    line(console, "Compared", f": A is version {first} ({first_name}), B is version {second} ({second_name})")
    if comparison.gains:
        console.print(f"{decision.rows:,} customers that neither was trained on, {decision.churned:,} churned")
        table = table_of(left=("metric",), right=("A", "B", "B better by", "at least", "at most"))
        for gain in comparison.gains:
            values = _number(gain.champion), _number(gain.challenger)
            gains = (_number(number, "+") for number in (gain.gain, gain.low, gain.high))
            table.add_row(METRIC_LABELS[gain.metric], *values, *gains)
        console.print(table)
        if comparison.gains[0].low is not None:
            console.print(f"Each bound holds with {100 * (comparison.gains[0].confidence or 0):g} % confidence.")
    line(console, "If A were deployed", f", the gate's verdict on B would be: {decision.verdict} ({decision.reason})")


def _number(value: float | None, sign: str = "") -> str:
    return "cannot tell" if value is None else f"{value:{sign}.4f}"


def show_keys(keys: "Sequence[ApiKey]", console: Console | None = None) -> None:
    """Print API keys, oldest first."""
    console = console or Console()
    if not keys:
        console.print("There is no API key yet: type `churnops keys add NAME --scope predict`")
        return
    table = table_of(left=("name", "id", "scopes", "created", "revoked"))
    for key in keys:
        made, revoked = (f"{at:%Y-%m-%d}" if at else "" for at in (key.created_at, key.revoked_at))
        scopes = "admin" if "admin" in key.scopes else ", ".join(sorted(key.scopes))  # admin implies the others
        table.add_row(Text(key.name), key.id, scopes, made, revoked)
    console.print(table)


def released_line(console: Console, release: "Release") -> None:
    """Print what became of a candidate, and why."""
    style = "green" if release.status in ("deployed", "unchanged") else "yellow"
    line(console, release.headline, f": {release.reason}", style)


def _in_production(period: "InProduction") -> Text:
    d = period.deployment
    until = time_text(period.until) if period.until else "now"
    from churnops.journal.deployment_log import KIND_LABELS

    did = KIND_LABELS[d.kind] + (f" by {d.by}" if d.by else "")
    return Text.assemble(f"  {time_text(d.at)} to {until:<16}  version {d.version} ", plain(f"{did}: {d.reason}"))
