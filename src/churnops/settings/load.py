"""Read `config.yaml` and the `CHURNOPS_*` variables that override it."""

import os
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from churnops.errors import NoProjectError, SettingsError
from churnops.limits import MAX_CONFIG_BYTES
from churnops.settings.sections import Settings
from churnops.settings.variables import ENV_FILE, ENV_PREFIX, FILE_ONLY, SECRETS
from churnops.settings.yaml import read_yaml

CONFIG_NAME = "config.yaml"
ENV_CONFIG = "CHURNOPS_CONFIG"


def default_config() -> str:
    """Return the commented default `config.yaml`, for the telecom table."""
    return files("churnops").joinpath("default_config.yaml").read_text(encoding="utf-8")


def find_config(start: Path, environment: Mapping[str, str] = os.environ) -> Path:
    """Return the config file to use: `CHURNOPS_CONFIG`, or the nearest `config.yaml` in `start` and its parents.

    Raises
    ------
    NoProjectError
        If there is none; the message names the command that writes one.
    """
    if named := environment.get(ENV_CONFIG):
        return Path(named)
    for folder in (start, *start.parents):
        if (folder / CONFIG_NAME).is_file():
            return folder / CONFIG_NAME
    raise NoProjectError(
        f"no {CONFIG_NAME} in {start} or above: write one with `churnops init TABLE --target HEADER`, or name one with "
        "--config"
    )


def project_settings(project: Path | str | None = None) -> Settings:
    """Load the settings of a project: its folder or its config file; None: that of `find_config` in this folder.

    Raises
    ------
    SettingsError
        As in `find_config` and `load_settings`.
    """
    path = find_config(Path.cwd()) if project is None else Path(project)
    return load_settings(path / CONFIG_NAME if path.is_dir() else path)


def load_settings(path: Path, environment: Mapping[str, str] = os.environ) -> Settings:
    """Read and check the settings in `path`; the `CHURNOPS_*` variables of `environment` override them.

    Raises
    ------
    SettingsError
        If a file is missing or is not YAML, or a name or value is not allowed.
    """
    document = _read(path)
    for (section, key), variable in SECRETS.items():
        if isinstance(document.get(section), dict) and document[section].get(key):
            raise SettingsError(
                f"{path}: {section}.{key} is secret: it comes from {variable}, or from the file that "
                f"{variable}{ENV_FILE} names"
            )
    for name, text in _overrides(environment, path.parent):
        _overlay(document, name, text)
    return Settings.parse(document, path.resolve().parent)


def _read(path: Path) -> dict[str, Any]:
    """Read a YAML file of settings; every error is one line."""
    try:
        document = read_yaml(_text(path))
    except FileNotFoundError:
        raise SettingsError(f"{path} does not exist: write one with `churnops init TABLE --target HEADER`") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from None
    except yaml.YAMLError as error:
        # The whole message would repeat the line, which may hold a password.
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise SettingsError(f"{path}{where} is not YAML: {problem or 'it cannot be parsed'}") from None
    except RecursionError:
        raise SettingsError(f"{path} is nested too deeply") from None
    except ValueError as error:  # such as a number of 5,000 digits
        raise SettingsError(f"{path} contains a value that YAML cannot read: {str(error)[:80]}") from None
    if not isinstance(document, dict):
        raise SettingsError(f"{path} contains no settings: see `churnops config show`")
    return document


def _overrides(environment: Mapping[str, str], folder: Path) -> Iterator[tuple[str, str]]:
    """Yield each variable that overrides a setting, with its text; that of `NAME` may be in the file of `NAME_FILE`."""
    for variable in sorted(environment):
        if not variable.startswith(ENV_PREFIX) or variable == ENV_CONFIG:
            continue
        name = variable.removesuffix(ENV_FILE)
        if name == variable:
            if name not in SECRETS.values() or environment[name]:  # pipelines set a secret that they lack to ""
                yield name, environment[name]
        elif environment.get(name):
            raise SettingsError(f"{name} and {variable} are both set: unset one of them")
        else:
            yield name, _secret(folder / environment[variable], variable)


def _secret(file: Path, variable: str) -> str:
    try:
        return _text(file)
    except OSError as error:
        raise SettingsError(f"{variable}: {file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:  # its message would repeat a part of the secret
        raise SettingsError(f"{variable}: {file} is not UTF-8") from None


def _text(path: Path) -> str:
    with path.open("rb") as file:
        data = file.read(MAX_CONFIG_BYTES + 1)
    if len(data) > MAX_CONFIG_BYTES:
        raise SettingsError(f"{path} is larger than {MAX_CONFIG_BYTES >> 20} MiB")
    return data.decode("utf-8")


def _overlay(document: dict[str, Any], variable: str, text: str) -> None:
    *sections, key = variable.removeprefix(ENV_PREFIX).lower().split("__")
    if (*sections, key) in FILE_ONLY:
        raise SettingsError(f"{variable}: '{key}' is read from {CONFIG_NAME} only: unset the variable")
    for section in sections:
        value = document.setdefault(section, {})
        if not isinstance(value, dict):
            raise SettingsError(f"{variable}: '{section}' has no settings below it")
        document = value
    secret = variable in SECRETS.values()
    try:
        value = read_yaml(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        problem = None if secret else getattr(error, "problem", None)
        raise SettingsError(f"{variable}: the value is not YAML{f': {problem}' if problem else ''}") from None
    if isinstance(value, str) and value != text.strip() and text.strip()[:1] not in ("'", '"', "|", ">", "!"):
        raise SettingsError(f"{variable}: only a part of the value would be read: put it in quotes")
    document[key] = value
