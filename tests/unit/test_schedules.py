"""The examples of `deploy/schedules` and `deploy/systemd` are valid, and call commands that exist."""

import ast
import re
from collections.abc import Iterator

from tests.support.commands import SCHEDULES, UNITS, cron_lines, problem

FIELD = r"(\*|\d+)(/\d+)?"


def text(name: str) -> str:
    return (SCHEDULES / name).read_text(encoding="utf-8")


def commands() -> Iterator[str]:
    """Yield every command of churnops in the examples."""
    yield from (line.partition("&& ")[2].partition(">>")[0] for line in cron_lines())
    for unit in UNITS.glob("*.service"):
        yield from re.findall(r"^Exec\w+=/opt/churnops/bin/(.*)$", unit.read_text(encoding="utf-8"), re.MULTILINE)
    yield from re.findall(r'bash_command=f"(.*?)"', text("airflow_dag.py"))
    for node in ast.walk(ast.parse(text("prefect_flow.py"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "churnops":
            yield " ".join(
                ["churnops", *(ast.literal_eval(a) if isinstance(a, ast.Constant) else "x" for a in node.args)]
            )


def test_every_command_exists_with_its_options() -> None:
    listed = list(commands())
    assert len(listed) == 13
    assert {line: problem(line, complete=True) for line in listed} == dict.fromkeys(listed)


def test_the_crontab_has_five_fields_and_a_folder_in_each_line() -> None:
    for line in cron_lines():
        assert re.fullmatch(rf"({FIELD} +){{5}}cd /srv/churn && churnops [^%]+ >> \w+\.log", line), line
