"""Make the pictures of README.md from a real run in a temporary copy of the project: `make pictures`.

Chromium takes the pictures of pages (Debian: apt-get install chromium).
"""

import io
import os
import re
import shutil
import subprocess
import tempfile
from contextlib import redirect_stderr
from pathlib import Path

import polars as pl
from benchmarks.dashboard import PORT, chromium, dashboard
from playwright.sync_api import sync_playwright
from rich.console import Console
from scripts.big_project import fill
from scripts.dashboard_pictures import photograph_pages

from churnops.data.simulate import Drift
from churnops.decision.list_request import ListRequest
from churnops.decision.newest import bring_up_to_date
from churnops.evaluation import plots
from churnops.pipelines.decide import change_policy
from churnops.pipelines.run_all import STEPS, RunSummary, run_all
from churnops.pipelines.run_monitoring import run_monitoring
from churnops.pipelines.simulate import simulate_file
from churnops.pipelines.sources import file
from churnops.progress import steps_progress
from churnops.project import Project
from churnops.screens import show_run
from churnops.settings import Settings, load_settings

REPOSITORY = Path(__file__).resolve().parents[1]
IMAGES = REPOSITORY / "docs/images"
MAX_BYTES = 150_000
REPORTS, PREDICTIONS = 40, 20_000  # in the dashboard's pictures
WIDTH = 96  # characters of the terminal

# Rich's own template loads a font from another site; this one uses the reader's.
TERMINAL = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<title>Output of the main job of churnops</title>
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px; line-height: {line_height}px; }}
.{unique_id}-title {{ font-family: system-ui, sans-serif; font-size: 16px; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal"><rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""

# The figures' colours (see churnops.evaluation.plots) on a sheet for light and dark mode.
SHEET = """<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg"
 xmlns:xlink="http://www.w3.org/1999/xlink">
<title>{title}</title>
<style>
:root {{ --paper: #ffffff; --ink: #1f2933; --muted: #5f6b7a; --grid: #dfe4ea; --main: #0072b2; --second: #d55e00; }}
@media (prefers-color-scheme: dark) {{ :root {{ --paper: #1b222b; --ink: #e6eaf0; --muted: #a3aebb; --grid: #333d49;
  --main: #56b4e9; --second: #e69f00; }} }}
</style>
<rect x="1" y="1" width="{inner_width}" height="{inner_height}" rx="8" style="fill: var(--paper);
 stroke: var(--grid)"/>
{figures}
</svg>
"""
FIGURE_WIDTH, FIGURE_HEIGHT, GAP = 480, 425, 20


def main() -> None:
    """Run the main job, add a history, monitor changed customers, and draw all pictures."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        raise SystemExit("Chromium is missing: apt-get install chromium")
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    os.environ["LOGNAME"] = "operations"  # name in the deployment history
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=False)
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(REPOSITORY / "config.yaml", folder)
        shutil.copytree(REPOSITORY / "data", Path(folder, "data"))
        before = Path.cwd()
        os.chdir(folder)  # for relative paths in the output
        try:
            settings = load_settings(Path("config.yaml"), environment={})
            console.print("[bold]$ python run_all.py[/]", highlight=False)
            summary = job(settings, console)
            show_run(summary, settings, console)
            fill(settings, reports=REPORTS, predictions=PREDICTIONS)
            make_list(settings)
            page = monitored(settings)
            photograph(browser, page, IMAGES / "monitoring.png")
            with sync_playwright() as playwright, dashboard(settings.root):
                photograph_pages(chromium(playwright), f"http://127.0.0.1:{PORT}", IMAGES)
        finally:
            os.chdir(before)
        run = console.export_svg(title="churnops", code_format=TERMINAL, unique_id="run")
        if folder in run:
            raise SystemExit("the terminal's picture shows a path of this machine")
    save("run.svg", run)
    save("evaluation.svg", figures(summary))


def job(settings: Settings, console: Console) -> RunSummary:
    """Run the main job as `churnops run`. The recorded console gets the progress display once, at its end."""
    with steps_progress(STEPS, len(settings.training.families), console=console) as (progress, on_family):
        return run_all(settings, progress=progress, on_family=on_family)


def make_list(settings: Settings) -> None:
    """Set a decision policy and make a call list, for the pictures of the dashboard."""
    with Project.open(settings) as project:
        terms = {"threshold": 0.5, "cost": 10.0, "value": 200.0, "success_rate": 0.25, "currency": "EUR"}
        policy = change_policy(project, terms, "spring offer", "operations")
        bring_up_to_date(project.engine, policy)
        maker = project.list_maker(project.require_deployed())
        maker.make(ListRequest.read({"budget": 1000.0, "name": "Spring offer"}), health=None, by="operations")


def monitored(settings: Settings) -> Path:
    """Run `churnops simulate` and `churnops monitor --batch` with longer calls; return the report's page."""
    columns = tuple(f"total_{part}_minutes" for part in ("day", "eve", "night", "intl"))
    drift = Drift(covariate=0.5, columns=(*columns, "total_day_calls", "account_length"))
    sources = [settings.path(path) for path in settings.data.production]
    simulate_file(sources, Path("longer-calls.csv"), settings, drift, rows=1000, seed=1)
    with redirect_stderr(io.StringIO()):  # the alerts
        return run_monitoring(settings, file(Path("longer-calls.csv"))).cycle.page.absolute()


def photograph(browser: str, page: Path, target: Path) -> None:
    """Take a picture of the head of a page."""
    quiet = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--hide-scrollbars")
    size, to = "--window-size=1080,1420", f"--screenshot={target}"
    subprocess.run([browser, *quiet, size, to, page.as_uri()], check=True, capture_output=True)
    print(f"docs/images/{target.name}: {target.stat().st_size:,} bytes")


def figures(summary: RunSummary) -> str:
    """Compose the winner's four figures on the held-out rows, from the run's artifact."""
    artifact = summary.evaluated.artifacts["test_data.parquet"]
    assert isinstance(artifact, bytes)
    rows = pl.read_parquet(artifact)
    outcome, probability = rows["churned"].to_numpy(), rows["churn_probability"].to_numpy()
    evaluation = summary.evaluation
    drawn = (
        plots.roc_svg(outcome, probability, evaluation.metrics["roc_auc"]),
        plots.precision_recall_svg(outcome, probability, evaluation.metrics["average_precision"]),
        plots.calibration_svg(outcome, probability, evaluation.metrics["calibration_error"]),
        plots.confusion_matrix_svg(evaluation.confusion),
    )
    placed = [place(svg, *divmod(i, 2)) for i, svg in enumerate(drawn)]
    width, height = 2 * FIGURE_WIDTH + 3 * GAP, 2 * FIGURE_HEIGHT + 3 * GAP
    title = f"{summary.evaluated.winner} on {evaluation.rows} held-out customers"
    picture = SHEET.format(
        title=title,
        width=width,
        height=height,
        inner_width=width - 2,
        inner_height=height - 2,
        figures="\n".join(placed),
    )
    ids = re.findall(r'\bid="([^"]*)"', picture)
    if len(set(ids)) != len(ids):
        raise SystemExit("two figures share an id, so one would be drawn with shapes of the other")
    return picture


def place(svg: str, row: int, column: int) -> str:
    """Put one figure into a cell of the sheet."""
    x, y = GAP + column * (FIGURE_WIDTH + GAP), GAP + row * (FIGURE_HEIGHT + GAP)
    return svg.replace("<svg ", f'<svg x="{x}" y="{y}" width="{FIGURE_WIDTH}" height="{FIGURE_HEIGHT}" ', 1)


def save(name: str, picture: str) -> None:
    """Write a picture; refuse one that is too large for a page."""
    data = "".join(f"{line.rstrip()}\n" for line in picture.splitlines()).encode()
    if len(data) > MAX_BYTES:
        raise SystemExit(f"{name} has {len(data)} bytes, at most {MAX_BYTES} are allowed")
    IMAGES.mkdir(parents=True, exist_ok=True)
    (IMAGES / name).write_bytes(data)
    print(f"docs/images/{name}: {len(data):,} bytes")


if __name__ == "__main__":
    main()
