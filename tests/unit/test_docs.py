"""Links, commands, settings, modules, files and folders that the documentation names exist."""

import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import reduce
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from churnops.alerting.notices import Subject
from churnops.settings import Settings
from tests.support.commands import problem

REPOSITORY = Path(__file__).parents[2]
PAGES = {
    str(path.relative_to(REPOSITORY)): path.read_text(encoding="utf-8")
    for pattern in ("*.md", "docs/*.md", "deploy/**/*.md", "data/*.md")
    for path in sorted(REPOSITORY.glob(pattern))
}
OF_TODAY = sorted(PAGES.keys() - {"CHANGELOG.md"})  # the changelog names the past
SOURCES = (REPOSITORY, REPOSITORY / "src", REPOSITORY / "src/churnops", REPOSITORY / "docs")
FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
DOTTED = re.compile(r"[a-z_]+(\.[A-Za-z_]+)+(?<!\.db)(?<!\.html)")
SOURCE = re.compile(r"[\w./-]+\.(py|md|yaml|yml|toml|json|sh)|[a-z_]+/([a-z_]+/)*")
WRITTEN = re.compile(r"(models|mlartifacts|code|output|environment|/|\.streamlit/)|[^/]*$")
"""Paths of files that a project or a run writes, and names without a folder."""


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_a_file_and_a_heading(page):
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", PAGES[page]):
        path = (REPOSITORY / page).parent / target if target else REPOSITORY / page
        assert path.exists(), target
        if anchor:
            assert anchor in anchors(path.read_text(encoding="utf-8")), f"{target}#{anchor}"


@pytest.mark.parametrize("page", OF_TODAY)
def test_commands_and_their_options_exist(page):
    for line in commands_in_blocks(PAGES[page]):
        assert problem(line, complete=True) is None, line
    for line in code_spans(PAGES[page]):
        if line.startswith("churnops "):
            assert problem(line, complete=False) is None, line


@pytest.mark.parametrize("page", OF_TODAY)
def test_dotted_names_are_settings_or_things_of_the_package(page):
    for name in code_spans(PAGES[page]):
        if DOTTED.fullmatch(name) and name.partition(".")[0] in Settings.model_fields:
            assert is_setting(name) or is_importable(f"churnops.{name}"), name


@pytest.mark.parametrize("page", OF_TODAY)
def test_paths_of_source_files_exist(page):
    for name in code_spans(PAGES[page]):
        if SOURCE.fullmatch(name) and not WRITTEN.match(name):
            assert any((folder / name).exists() for folder in SOURCES), name


def test_every_alert_has_a_section_for_people_on_call():
    rules = (REPOSITORY / "deploy/prometheus/churnops.rules.yml").read_text(encoding="utf-8")
    described = re.findall(r"^(?:Alert|Rule) .*$", PAGES["docs/on-call.md"], re.MULTILINE)
    alerts = {name for line in described for name in re.findall(r"`(\w+)`", line)}
    assert alerts == {*get_args(Subject), *re.findall(r"- alert: (\w+)", rules)}


def test_every_rule_links_to_its_section():
    sections = re.findall(r"^(### .*)\n([^#]*)", PAGES["docs/on-call.md"], re.MULTILINE)
    described = {f"docs/on-call.md#{anchors(heading).pop()}": text for heading, text in sections}
    rules = (REPOSITORY / "deploy/prometheus/churnops.rules.yml").read_text(encoding="utf-8")
    links = re.findall(r"- alert: (\w+)$.*?runbook_url: \"(.*?)\"$", rules, re.MULTILINE | re.DOTALL)
    assert [alert for alert, _ in links] == re.findall(r"- alert: (\w+)", rules)
    for alert, link in links:
        assert f"`{alert}`" in described[link]


def test_every_page_is_in_the_navigation_of_the_site():
    navigation = re.findall(r"([\w./-]+\.md)$", (REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    generated = {"docs/notebook.md", *(f"reference/{name}.md" for name in ("commands", "settings", "paths", "python"))}
    assert set(navigation) - generated == PAGES.keys()


def test_every_picture_is_shown():
    shown = {Path(name).name for text in PAGES.values() for name in re.findall(r"\]\(([^)\s]*images/[^)\s]*)\)", text)}
    assert shown == {picture.name for picture in (REPOSITORY / "docs/images").iterdir()}


def test_the_tree_of_the_architecture_names_every_folder_and_layer():
    architecture = PAGES["docs/architecture.md"]
    tree, layers = re.findall(r"^```\n(.*?)^```", architecture, re.MULTILINE | re.DOTALL)[:2]
    folders = {path.name for path in (REPOSITORY / "src/churnops").iterdir() if path.is_dir() and path.name[0] != "_"}
    assert set(re.findall(r"^  (\w+)/", tree, re.MULTILINE)) == folders
    contracts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    assert layers.splitlines() == [line.replace("churnops.", "") for line in contracts["contracts"][0]["layers"]]


def test_the_checks_detect_wrong_commands_and_names():
    assert problem("churnops predict a.csv b.csv --explain", complete=True) is None
    assert problem("churnops predict a.csv", complete=True) == "no OUT"
    assert problem("churnops predict a.csv", complete=False) is None
    assert problem("churnops models prune --kep 3", complete=True) is not None
    assert problem("churnops retire", complete=True) == "no command 'retire'"
    assert is_setting("monitoring.drift_threshold")
    assert not is_setting("monitoring.drift_limit")
    assert is_importable("churnops.data.merge.merge")
    assert not is_importable("churnops.data.merge.mixed")
    assert anchors("# A `b`: c\n## A `b`: c\n") == {"a-b-c", "a-b-c-1"}


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    slugs = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
    seen: Counter[str] = Counter()
    result = set()
    for slug in slugs:
        result.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return result


def commands_in_blocks(text: str) -> Iterator[str]:
    """Yield each command of fenced and indented blocks, without its prompt."""
    fenced = [line for block in FENCE.findall(text) for line in block.splitlines()]
    indented = re.findall(r"^ {4,}.*$", FENCE.sub("", text), re.MULTILINE)
    for line in fenced + indented:
        if match := re.match(r" *(?:\$ )?(churnops [^─►]*)$", line):  # other lines are drawings
            yield match[1]


def code_spans(text: str) -> Iterator[str]:
    """Yield the code spans of a page outside its blocks, each on one line."""
    prose = FENCE.sub("", text)
    for span in re.findall(r"`([^`]+)`", prose):
        yield " ".join(span.split())


def is_setting(name: str) -> bool:
    """Return whether a dotted name is a key of the settings."""
    model: Any = Settings
    for part in name.split("."):
        if not (isinstance(model, type) and issubclass(model, BaseModel)) or part not in model.model_fields:
            return False
        model = model.model_fields[part].annotation
    return True


def is_importable(name: str) -> bool:
    """Return whether a dotted name is a module, or something in one."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            reduce(getattr, parts[length:], import_module(".".join(parts[:length])))
        except (ImportError, AttributeError):
            continue
        return True
    return False
