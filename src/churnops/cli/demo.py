"""Command that shows the closed loop on simulated customers: demo."""

from pathlib import Path

import click

from churnops.cli.root import NumberRange, main, need
from churnops.errors import ChurnopsError


@main.command()
@click.argument("folder", default="churnops-demo", type=click.Path(path_type=Path))
@click.option("--drift", type=NumberRange(0, 1), help="Share of later customers that change; 0: no drift.")
@click.option("--rate", type=NumberRange(0, min_open=True), help="Customers a second.")
@click.option("--seed", type=click.IntRange(0), help="Seed of the customers.")
@click.option("--plan", "file", type=click.Path(path_type=Path), help="File of rates, times and settings.")
def demo(folder: Path, drift: float | None, rate: float | None, seed: int | None, file: Path | None) -> None:
    """Run the closed loop on simulated customers, in a new project in FOLDER (default: churnops-demo).

    The demonstration trains a first model on the example table of the package and serves it to simulated customers.
    Then it changes the customers' behaviour: monitoring sends an alert, a new model is trained, compared and deployed,
    and ROC-AUC recovers. At last a file of simulated customers is monitored. It takes about three minutes on two idle
    cores, and needs no network. FOLDER keeps the project, the logs and the figure timeline.svg.
    """
    need("serve,alerts", "uvicorn", "apprise")
    if folder.exists() and any(folder.iterdir()):
        raise ChurnopsError(f"{folder} is not empty: give a new folder, churnops demo FOLDER")
    from rich.console import Console

    from churnops.demo.figure import timeline_svg
    from churnops.demo.loop import run_loop
    from churnops.demo.orchestration import orchestrate
    from churnops.demo.plan import DEFAULT, DemoPlan
    from churnops.demo.project import DemoProject
    from churnops.demo.screen import Terminal

    given = {"drift": drift, "rate": rate, "seed": seed}
    plan = DemoPlan.read(file or DEFAULT, **{name: value for name, value in given.items() if value is not None})
    click.echo(f"The closed loop in {folder}: about three minutes on two idle cores. Ctrl-C stops it.")
    with Terminal(Console()) as terminal:
        timeline = run_loop(folder, plan, terminal)
    (folder / "timeline.svg").write_text(timeline_svg(timeline), encoding="utf-8")
    terminal.summary(timeline)
    terminal.step("orchestration on a file: churnops simulate, churnops monitor --batch FILE --act")
    result = orchestrate(DemoProject(folder, plan), rows=plan.batch_rows, concept=plan.batch_concept, seed=plan.seed)
    for line in result.lines():
        terminal.step(line)
    click.echo(f"Timeline: {folder / 'timeline.svg'}\nProject: cd {folder}, then churnops models or churnops dashboard")
