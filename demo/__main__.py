"""Command of the demonstration, `python -m demo`: run the closed loop, show it, and draw its timeline."""

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
@click.option("--drift", type=click.FloatRange(0, 1), help="Share of later customers that change; 0: no drift.")
@click.option("--rate", type=float, help="Customers a second.")
@click.option("--seed", type=click.IntRange(0), help="Seed of the customers.")
@click.option("--folder", type=click.Path(path_type=Path), help="New folder for the project. Default: a temporary one.")
@click.option(
    "--figure",
    type=click.Path(path_type=Path),
    default=Path("demo.svg"),
    show_default=True,
    help="File of the timeline's figure.",
)
def main(
    path: Path, drift: float | None, rate: float | None, seed: int | None, folder: Path | None, figure: Path
) -> None:
    """Run the closed loop on simulated customers.

    Serve, drift, alert, retrain, gate, hot swap, recovery: about two minutes on an idle machine. Then, in the same
    project, simulate a file of customers, monitor it and retrain.
    """
    from demo.figure import timeline_svg

    prepare_streams()

    options = {"drift": drift, "rate": rate, "seed": seed}
    project_folder = folder or Path(tempfile.mkdtemp(prefix="churnops-demo-"))
    try:
        if project_folder.exists() and any(project_folder.iterdir()):
            raise ChurnopsError(f"{project_folder} is not empty: give a new folder")
        plan = Plan.read(path, **{name: value for name, value in options.items() if value is not None})
        with Terminal(Console()) as terminal:
            timeline = run_loop(project_folder, plan, terminal)
        figure.write_text(timeline_svg(timeline), encoding="utf-8")
        terminal.summary(timeline)
        terminal.step("orchestration on a file: churnops simulate, churnops monitor --batch FILE --act")
        project = Project(project_folder, plan)
        result = orchestrate(project, rows=plan.batch_rows, concept=plan.batch_concept, seed=plan.seed)
        for line in result.lines():
            terminal.step(line)
        click.echo(f"Timeline: {figure}" + (f"\nProject: {project_folder}" if folder else ""))
    except ChurnopsError as error:
        click.secho(f"error: {error}", fg="red", err=True)
        sys.exit(error.exit_code)
    finally:
        if folder is None:
            shutil.rmtree(project_folder, ignore_errors=True)


if __name__ == "__main__":
    main()
