"""`python -m demo`: run the closed loop, show it, and draw its timeline."""

import shutil
import sys
import tempfile
from pathlib import Path

import click
from rich.console import Console

from churnops.console import prepare_streams
from churnops.errors import ChurnopsError
from demo.loop import run_loop
from demo.orchestration import orchestrate
from demo.plan import DEFAULT, Plan
from demo.project import Project
from demo.screen import Terminal


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--plan", "path", type=click.Path(path_type=Path), default=DEFAULT, help="Default: demo/demo.yaml.")
@click.option("--drift", type=click.FloatRange(0, 1), help="Share of later customers in the new world; 0: no change.")
@click.option("--rate", type=float, help="Customers a second.")
@click.option("--seed", type=click.IntRange(0), help="Of the customers.")
@click.option(
    "--folder", type=click.Path(path_type=Path), help="New folder to keep the project in. Default: a temporary one."
)
@click.option(
    "--figure",
    type=click.Path(path_type=Path),
    default=Path("demo.svg"),
    show_default=True,
    help="Where the timeline is drawn.",
)
def main(
    path: Path, drift: float | None, rate: float | None, seed: int | None, folder: Path | None, figure: Path
) -> None:
    """Run the closed loop on simulated customers.

    Serve, drift, alert, retrain, gate, hot swap, recovery: about two minutes on an idle machine. Then the report's
    orchestration on a file of simulated customers, in the same project, which says `demonstration: true`: simulate,
    monitor, retrain.
    """
    from demo.figure import timeline_svg

    prepare_streams()

    given = {"drift": drift, "rate": rate, "seed": seed}
    kept = folder or Path(tempfile.mkdtemp(prefix="churnops-demo-"))
    try:
        if kept.exists() and any(kept.iterdir()):
            raise ChurnopsError(f"{kept} is not empty: name a new folder, the demonstration fills it")
        plan = Plan.read(path, **{name: value for name, value in given.items() if value is not None})
        with Terminal(Console()) as terminal:
            timeline = run_loop(kept, plan, terminal)
        figure.write_text(timeline_svg(timeline), encoding="utf-8")
        terminal.summary(timeline)
        terminal.step("the report's orchestration on a file: churnops simulate, churnops monitor --batch FILE --act")
        project = Project(kept, plan)
        found = orchestrate(project, rows=plan.batch_rows, concept=plan.batch_concept, seed=plan.seed)
        for line in found.lines():
            terminal.step(line)
        click.echo(f"timeline: {figure}" + (f"; project: {kept}" if folder else ""))
    except ChurnopsError as error:
        click.secho(f"error: {error}", fg="red", err=True)
        sys.exit(error.exit_code)
    finally:
        if folder is None:
            shutil.rmtree(kept, ignore_errors=True)


if __name__ == "__main__":
    main()
