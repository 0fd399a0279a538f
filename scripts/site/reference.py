"""Reference pages generated from the code: commands, settings, Python functions."""

import inspect
import re
from collections.abc import Iterable, Iterator
from typing import Any, get_args

import click
from pydantic import BaseModel

import churnops
from churnops.cli import main
from churnops.schema import Column, Schema
from churnops.settings import Settings, default_config
from churnops.settings.rules import Rule
from churnops.settings.sections import DerivedFeature

WIDTH = 100  # characters of a command's help
_SETTING = re.compile(r"(  )?(\w+): +(\S.*?) +# (.*)")
_SECTION = re.compile(r"^(\w[\w ]*)\n-{3,}\n", re.MULTILINE)


def commands() -> str:
    """Return the page of all commands: the text that `--help` prints."""
    text = "# Commands\n\nEach command prints its section with `--help`.\n"
    for name, command in walk("churnops", main):
        context = click.Context(command, info_name=name, terminal_width=WIDTH, max_content_width=WIDTH)
        text += f"\n## `{name}`\n\n```text\n{command.get_help(context)}\n```\n"
    return text


def walk(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    """Yield a command and all commands below it, with their full names."""
    yield name, command
    if isinstance(command, click.Group):
        for child in sorted(command.commands):
            yield from walk(f"{name} {child}", command.commands[child])


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table in Markdown."""
    lines = [list(header), ["---"] * len(list(header)), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines) + "\n"


def settings() -> str:
    """Return the page of all settings, with the defaults and comments of `default_config.yaml`."""
    text = "# Settings\n\nThe keys of `config.yaml`, with the defaults for the telecom table.\n"
    section, rows = "", list[tuple[str, ...]]()
    for line in [*default_config().partition("\nschema:")[0].splitlines(), "end:"]:
        if match := _SETTING.fullmatch(line):
            indented, key, default, comment = match.groups()
            name = f"{section}.{key}" if indented else key
            rows.append((f"`{name}`", f"`{default}`", comment, allowed(name)))
        elif re.fullmatch(r"\w+:", line):
            heading = f"## `{section}`\n\n{inspect.getdoc(_annotation(section))}\n\n" if section else ""
            text += "\n" + heading + table(("setting", "default", "meaning", "allowed"), rows)
            section, rows = line[:-1], []
    for title, model in (("features.derived", DerivedFeature), ("schema", Schema), ("schema.columns", Column)):
        text += f"\n## `{title}`\n\n{docstring(model)}\n"
    return text


def _annotation(name: str) -> Any:
    """Return the type of a setting or section by its dotted name."""
    model: Any = Settings
    for part in name.split("."):
        model = model.model_fields[part].annotation
    return model


def allowed(name: str) -> str:
    """Return the allowed values of a setting in words.

    >>> allowed("training.folds"), allowed("journal.durability")
    ('a whole number from 2 to 20', '`process`, `power`')
    """
    section, _, key = name.rpartition(".")
    model: type[BaseModel] = _annotation(section) if section else Settings
    field = model.model_fields[key]
    rules = [item.words for item in field.metadata if isinstance(item, Rule)]
    return rules[0] if rules else ", ".join(f"`{value}`" for value in get_args(field.annotation))


def python() -> str:
    """Return the page of the names of `import churnops`, from their docstrings."""
    text = "# Python functions\n\n[Python](../docs/python.md) shows them at work.\n"
    for name in sorted(churnops.__all__, key=str.lower):
        thing = getattr(churnops, name)
        if callable(thing):
            text += f"\n## `churnops.{name}`\n\n{_described(name, thing)}"
            for member, function in _methods(thing):
                text += f"\n### `{name}.{member}`\n\n{_described(member, function)}"
    return text


def _described(name: str, thing: Any) -> str:
    if isinstance(thing, property):
        return docstring(thing) + "\n"
    return f"```python\n{name}{_signature(thing)}\n```\n\n{docstring(thing)}\n"


def _signature(thing: Any) -> str:
    """Return a signature without the modules of its types, with one parameter a line if it is long."""
    text = re.sub(r"(?<=: |> )'([^']+)'", r"\1", str(inspect.signature(thing)))
    text = re.sub(r"\b[a-z_.]+\.(?=[A-Z])", "", text)
    return text if len(text) < WIDTH else re.sub(r", (?=\*|\w+:)", ",\n    ", text)


def _methods(thing: Any) -> Iterator[tuple[str, Any]]:
    """Yield the public methods and properties that a class itself defines."""
    for name, member in vars(thing).items() if inspect.isclass(thing) else ():
        if name[0] != "_" and member.__doc__ and (inspect.isfunction(member) or isinstance(member, property)):
            yield name, member


def docstring(thing: object) -> str:
    """Return a docstring in NumPy style as Markdown: its sections become lists, and its examples a block."""
    head, *sections = _SECTION.split(inspect.getdoc(thing) or "")
    text = head
    for title, body in zip(sections[::2], sections[1::2], strict=True):
        if title == "Examples":
            text += f"```python\n{body.strip()}\n```\n"
        else:
            text += f"**{title}**\n\n{_entries(body)}\n"
    return text


def _entries(body: str) -> str:
    """Return the entries of a section as a list: a name, and its description on the indented lines below."""
    lines = []
    for line in body.strip().splitlines():
        if line[:1] not in ("", " "):
            lines.append(f"- `{line}`:")
        else:
            lines.append("    " + line.strip() if line else "")
    return "\n".join(lines) + "\n"
