"""Screen of the examination of a project: a row for each check, then the commands."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from churnops.doctor import Examination, ProjectFinding
from churnops.screens.layout import plain


def show_examination(examination: Examination, console: Console | None = None) -> None:
    """Print each check with its findings, and below each finding the command that mends it."""
    console = console or Console()
    table = Table(show_lines=False)
    table.add_column("Check", no_wrap=True)
    table.add_column("State", no_wrap=True)
    table.add_column("Finding, and the command that mends it", overflow="fold")
    for name, findings in examination.findings.items():
        if not findings:
            table.add_row(name, Text("well", "green"), "")
        for finding in findings:
            state = Text("wrong", "red") if finding.wrong else Text("note", "yellow")
            table.add_row(name, state, _in_words(finding))
    console.print(table)
    console.print("All is well." if examination.well else "Something is wrong: the commands in the table mend it.")


def _in_words(finding: ProjectFinding) -> Text:
    return Text.assemble(plain(finding.message), "\n", (plain(finding.command).plain, "bold"))
