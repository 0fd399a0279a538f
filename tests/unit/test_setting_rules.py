"""Every setting has a rule (the test walks the model); a broken rule is one line that names the setting."""

import types
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
from pydantic import BaseModel

from churnops.errors import SettingsError
from churnops.schema import Column
from churnops.settings import Settings, default_config, load_settings
from churnops.settings.columns import RULES
from churnops.settings.rules import Entries, Flag, Items, Number, Rule, Text, Whole
from churnops.settings.yaml import read_yaml
from tests.support.projects import write_project

DEFAULT = read_yaml(default_config())
ODD: tuple[Any, ...] = ("2:13:20", "1_000", "8000", "yes", "010", "0.5x", True, 1.5, None, [[]], {"a": {}}, b"x")
"""Values that a setting of some other type may hold, or that YAML 1.1 read as something else."""


def leaves(
    model: type[BaseModel] = Settings, where: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any, tuple[Any, ...]]]:
    """Yield the place, type and metadata of every setting, those of lists and sections within included."""
    for name, field in model.model_fields.items():
        if name == "table":
            continue
        here = (*where, name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from leaves(field.annotation, here)
        else:
            yield here, field.annotation, tuple(field.metadata)


LEAVES = {".".join(where): (where, type_, metadata) for where, type_, metadata in leaves()}


def rule_of(metadata: tuple[Any, ...]) -> Rule | None:
    return next((item for item in metadata if isinstance(item, Rule)), None)


def elements(type_: Any) -> list[Any]:
    """Return the types within a list, mapping or optional type that need rules of their own."""
    origin, args = get_origin(type_), get_args(type_)
    if origin is tuple:
        return [args[0]]
    if origin in (Mapping, dict) or getattr(origin, "__name__", "") == "Mapping":
        return list(args)
    return []


def bounded(type_: Any) -> bool:
    """Whether a type within another one has a rule, a pattern or options."""
    if get_origin(type_) is Annotated:
        return len(get_args(type_)) > 1
    return get_origin(type_) is Literal or (isinstance(type_, type) and issubclass(type_, BaseModel))


def refused(place: tuple[str, ...], value: object, tmp_path: Path) -> str:
    document = deepcopy(DEFAULT)
    section = document
    for name in place[:-1]:
        section = section.setdefault(name, {})
    section[place[-1]] = value
    with pytest.raises(SettingsError) as caught:
        Settings.parse(document, tmp_path)
    return str(caught.value)


@pytest.mark.parametrize("name", LEAVES)
def test_every_setting_has_a_rule_and_so_has_what_is_within_it(name: str):
    _, type_, metadata = LEAVES[name]
    assert rule_of(metadata) or get_origin(type_) in (Literal, Union, types.UnionType), f"{name} has no rule"
    if get_origin(type_) in (Union, types.UnionType):
        assert rule_of(metadata), f"{name} has no rule"
    for element in elements(type_):
        assert bounded(element), f"items of {name} have no rule"


def outside(rule: Rule | None) -> list[Any]:
    """Return values just and far below and above what a rule allows."""
    match rule:
        case Whole(low, high):
            return [low - 1, high + 1, -(10**30), 10**30, float(low)]
        case Number(low, high):
            return [
                *([] if low <= 0 else [low * 0.99, min(low / 2, 1e-300)]),
                -1.0,
                high * 1.01,
                float("inf"),
                float("nan"),
                10**400,
            ]
        case Text(_, low, high, _, or_empty):
            return [*([] if or_empty or not low else [""]), "a" * (high + 1), "a\0b", "a\x1b[31mb"]
        case Items(low, high):
            return [*([[]] if low else []), ["a"] * (high + 1), ["same", "same"]]
        case Entries(_, high):
            return [{f"a{i}": 1 for i in range(high + 1)}]
        case _:
            return [2, -1, "", "nothing of this kind", "a" * 10_000]


@pytest.mark.parametrize("name", LEAVES)
def test_wrong_values_and_types_are_refused_in_one_line_naming_all(name: str, tmp_path: Path):
    place, _, metadata = LEAVES[name]
    rule = rule_of(metadata)
    odd = [value for value in ODD if rule is None or not rule.allows(value)]
    if name == "api.require_key":  # for which true stands for always
        odd.remove(True)
    assert len(odd) >= 5
    for value in (*outside(rule), *odd):
        message = refused(place, value, tmp_path)
        assert message.startswith(f"setting '{name}"), (value, message)
        assert " must be " in message, (value, message)
        assert message.isprintable(), (value, message)
        assert len(message) < 400, (value, message)
        if rule is not None and not isinstance(rule, Items | Entries):
            assert rule.words in message, (value, message)


@pytest.mark.parametrize("name", [name for name, (_, _, m) in LEAVES.items() if isinstance(rule_of(m), Whole | Number)])
def test_the_bounds_themselves_are_allowed(name: str, tmp_path: Path):
    place, _, metadata = LEAVES[name]
    rule = rule_of(metadata)
    assert isinstance(rule, Whole | Number)
    for value in (rule.low, rule.high, *([0] if isinstance(rule, Number) and rule.or_zero else [])):
        document = deepcopy(DEFAULT)
        section = document
        for part in place[:-1]:
            section = section.setdefault(part, {})
        section[place[-1]] = value
        Settings.parse(document, tmp_path)


def test_flags_take_true_and_false_only():
    assert [Flag().allows(value) for value in (True, False, 0, 1, "true", "on", None)] == [True, True] + [False] * 5


COLUMN: dict[str, tuple[list[Any], str]] = {
    "name": (["", "a" * 65, "A b", 1, None], "name"),
    "kind": (["", "text", 1, None], "kind"),
    "alias": (["", "a" * 201, "a\0b", 1, False], "alias"),
    "label": (["a" * 101, "a\nb", 1, None], "label"),
    "unit": (["a" * 31, "\x1b[31m", 1, None], "unit"),
    "why": (["a" * 201, "a\nb", 1, None], "why"),
    "action": (["a" * 201, "\x1b[31m", 1, None], "action"),
    "description": (["a" * 2001, "\x1b[31m", 1], "description"),
    "required": (["yes", 1, None], "required"),
    "sensitive": (["yes", 1, None, True], "sensitive"),
    "personal": (["yes", 1, None], "personal"),
    "actionable": (["yes", 1, None], "actionable"),
    "nullable": (["no", 0, None], "nullable"),
    "minimum": ([-1e301, 1e301, "0", True, float("inf"), float("nan"), 1441], "minimum|inimum"),
    "maximum": ([-1e301, 1e301, "0", True, float("inf"), float("nan"), -1], "maximum|aximum"),
    "choices": ([["a"], "ab", [1], None], "choices"),
    "format": (["dmy", 1, None], "format"),
    "open": (["no", 0, None, False], "open"),
}


def test_every_key_of_a_column_is_tried():
    assert set(COLUMN) == set(Column.model_fields)
    assert set(RULES) <= set(COLUMN)


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, (values, _) in COLUMN.items() for value in values])
def test_a_column_out_of_bounds_is_refused(key: str, value: object, tmp_path: Path):
    document = deepcopy(DEFAULT)
    column = next(c for c in document["schema"]["columns"] if c["name"] == "total_day_minutes")
    column[key] = value
    with pytest.raises(SettingsError, match=COLUMN[key][1]) as caught:
        Settings.parse(document, tmp_path)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        (["a", ""], "each of its choices"),
        (["a" * 201, "b"], "200 characters"),
        ([f"c{i}" for i in range(10_001)], "at most 10000"),
    ],
)
def test_choices_are_bounded(choices: list[str], message: str, tmp_path: Path):
    document = deepcopy(DEFAULT)
    document["schema"]["columns"].append({"name": "plan", "kind": "category", "choices": choices})
    with pytest.raises(SettingsError, match=message):
        Settings.parse(document, tmp_path)


def test_an_integers_bounds_are_whole_numbers(tmp_path: Path):
    document = deepcopy(DEFAULT)
    document["schema"]["columns"].append({"name": "calls", "kind": "integer", "minimum": 0.5})
    with pytest.raises(SettingsError, match="whole number"):
        Settings.parse(document, tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2:13:20", "must be a whole number from 1 to 65535, given the text '2:13:20'"),
        ("010", "begins with 0"),
        ("8_000", "given the text '8_000'"),
        ("'8000'", "given the text '8000'"),
        ("8000.0", "given 8000.0"),
        ("8e3", "given 8000.0"),
        ("true", "given true"),
        ("~", "given null"),
        ("2024-01-01", "given the text '2024-01-01'"),
        ("0b101", "given the text '0b101'"),
        ("!!python/object:os.system x", "is not YAML"),
        ("!!timestamp 2024-01-01", "must be a whole number"),
        ("1" * 5000, "digits"),
        ("&a [*a]", "must be a whole number"),
    ],
)
def test_a_file_and_a_variable_are_read_alike(text: str, message: str, tmp_path: Path):
    path = write_project(tmp_path)
    if "digits" not in message:
        with pytest.raises(SettingsError, match=message):
            load_settings(path, {"CHURNOPS_API__PORT": text})
    else:
        with pytest.raises(SettingsError, match="not YAML"):
            load_settings(path, {"CHURNOPS_API__PORT": text})
    document = default_config().replace("  port: 8000 ", f"  port: {text} ")
    assert document != default_config()
    path.write_text(document)
    with pytest.raises(SettingsError, match=message):
        load_settings(path, {})


@pytest.mark.parametrize(("text", "port"), [("0x1F40", 8000), ("+8000", 8000), ("8000 # a comment", 8000)])
def test_numbers_in_variables_are_read_in_each_notation(text: str, port: int, tmp_path: Path):
    assert load_settings(write_project(tmp_path), {"CHURNOPS_API__PORT": text}).api.port == port


def test_words_that_yaml_11_reads_as_booleans_or_dates_are_text(tmp_path: Path):
    document = default_config() + "    - {name: plan, kind: category, choices: [No, Yes, on, 2024-01-01, 1:30]}\n"
    (tmp_path / "config.yaml").write_text(document)
    plan = load_settings(tmp_path / "config.yaml", {}).table.by_name["plan"]
    assert plan.choices == ("No", "Yes", "on", "2024-01-01", "1:30")
    with pytest.raises(SettingsError, match=r"dashboard.login': must be true or false, given the text 'yes'"):
        load_settings(tmp_path / "config.yaml", {"CHURNOPS_DASHBOARD__LOGIN": "yes"})


def test_merge_keys_and_anchors_keep_their_meaning(tmp_path: Path):
    text = default_config().replace("training:\n", "training: &training\n", 1)
    text += "    - &plan {name: plan, kind: flag, choices: ['n', 'y']}\n    - {<<: *plan, name: other}\n"
    (tmp_path / "config.yaml").write_text(text)
    columns = load_settings(tmp_path / "config.yaml", {}).table.by_name
    assert columns["other"].choices == columns["plan"].choices


def test_a_value_that_a_comment_would_cut_is_refused_and_not_shown(tmp_path: Path):
    path = write_project(tmp_path)
    with pytest.raises(SettingsError, match="only a part of the value would be read") as caught:
        load_settings(path, {"CHURNOPS_JOURNAL__URL": "postgresql+psycopg://ann:hunter2 #3@db/churn"})
    assert "hunter2" not in str(caught.value)
    with pytest.raises(SettingsError) as caught:
        load_settings(path, {"CHURNOPS_DASHBOARD__API_KEY": "0123456"})
    assert "0123456" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("journal.url", "mysql://ann:hunter2@db/churn"),
        ("journal.url", "postgresql://ann:hunter2@db/churn"),
        ("journal.url", "postgresql+psycopg://ann:hunter2@db:x/churn"),
        ("journal.url", "journal.db"),
        ("tracking.uri", "ftp://ann:hunter2@host"),
        ("tracking.uri", "mlruns"),
        ("tracking.uri", "http://"),
        ("alerts.link", "javascript:alert('hunter2')"),
        ("alerts.link", "data:text/html,hunter2"),
        ("alerts.link", "https://ann:hunter2@host/"),
        ("alerts.link", 'https://host/"><script>hunter2'),
        ("dashboard.mlflow_url", "javascript:hunter2"),
        ("dashboard.api_url", "file:///hunter2"),
        ("retraining.check_url", "http://ann:hunter2@host"),
        ("data.raw", ["ftp://bucket/x"]),
        ("data.raw", ["s3://ann:hunter2@bucket/x"]),
        ("data.raw", ["~/data"]),
        ("data.raw", ["data/production"]),
        ("data.production", ["./data/raw/"]),
        ("data.batches", {"weekly": "data/raw"}),
        ("api.host", "http://0.0.0.0"),
        ("api.host", "0.0.0.0:8000"),
        ("api.host", "256.1.1.1"),
        ("journal.url", "sqlite:///~/journal.db"),
        ("journal.url", "sqlite:///  "),
        ("dashboard.api_url", "http://churn:0"),
        ("data.raw", ["data/raw", "./data/raw/"]),
        ("monitoring.directory", " monitoring"),
        ("features.derived", [{"name": "x", "expression": ""}]),
    ],
)
def test_addresses_and_paths_are_checked(name: str, value: object, tmp_path: Path):
    message = refused(tuple(name.split(".")), value, tmp_path)
    assert message.startswith(f"setting '{name.partition('.')[0]}")
    assert "hunter2" not in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("journal.url", "postgresql+psycopg://ann:p%40ss@db:5432/churn?sslmode=require"),
        ("journal.url", "postgresql+psycopg:///churn?host=/run/postgresql"),
        ("journal.url", "sqlite:///:memory:"),
        ("journal.url", "sqlite:////var/lib/journal.db"),
        ("journal.url", "sqlite+pysqlite:///journal.db"),
        ("tracking.uri", "postgresql+psycopg2://ann@db/mlflow"),
        ("tracking.uri", "https://ann:secret@mlflow.example.org/x"),
        ("alerts.link", "https://grafana.example.org/d/x?orgId=1&from=now-7d#churn"),
        ("dashboard.mlflow_url", ""),
        ("api.host", "::"),
        ("api.host", "fe80::1%eth0"),
        ("api.host", "churn-api.example.org"),
        ("data.raw", ["../shared/raw", "/data/été 2024.parquet"]),
        ("data.raw", ["data/raw/churn-80.csv", "data/raw/churn-20.csv"]),
        ("data.raw", ["s3://bucket/x"]),
        ("retraining.confidence", None),
        ("monitoring.window_days", 15 / 86_400),
    ],
)
def test_values_in_existing_projects_stay_valid(name: str, value: object, tmp_path: Path):
    document = deepcopy(DEFAULT)
    section, key = name.split(".")
    document[section][key] = value
    Settings.parse(document, tmp_path)
