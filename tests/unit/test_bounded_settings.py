"""A settings file is bounded before it is parsed, and a short file cannot expand to a billion values."""

from pathlib import Path

import pytest

from churnops.errors import SettingsError
from churnops.limits import MAX_CONFIG_BYTES, MAX_MERGED, MAX_NESTED
from churnops.settings import default_config, load_settings
from churnops.settings.yaml import Loader

LAUGHS = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 30))
MERGES = "a0: &a0 {k: 1}\n" + "".join(f"a{i}: &a{i} {{<<: [{','.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 30))


def test_a_settings_file_is_at_most_2_mib(tmp_path: Path):
    path = tmp_path / "config.yaml"
    text = default_config()
    text += "#" * (MAX_CONFIG_BYTES - len(text.encode()))
    path.write_text(text)
    assert load_settings(path, {}).random_state == 42
    path.write_text(text + "#")
    with pytest.raises(SettingsError, match="larger than 2 MiB"):
        load_settings(path, {})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (MERGES, f"line 7 is not YAML: more than {MAX_MERGED} keys"),
        (LAUGHS, "schema"),
        (LAUGHS + "? *a29\n: 1\n", "unhashable key"),
        (LAUGHS + "schema: {columns: *a29}\n", "schema.columns.0"),
        (LAUGHS + "schema: *a29\n", "schema"),
    ],
    ids=["merges", "lists", "key", "columns", "schema"],
)
def test_references_to_references_are_not_multiplied(tmp_path: Path, text: str, reason: str):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=reason):
        load_settings(path, {})


@pytest.mark.parametrize("opening", ["[", "{a: ", "[{a: "])
def test_brackets_are_nested_up_to_a_limit(tmp_path: Path, opening: str, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "config.yaml"
    path.write_text(default_config() + f"zzz: {'[' * MAX_NESTED}{']' * MAX_NESTED}\n")
    with pytest.raises(SettingsError, match="unknown setting 'zzz'"):
        load_settings(path, {})
    begun: list[object] = []
    begin = Loader.fetch_flow_collection_start
    monkeypatch.setattr(Loader, "fetch_flow_collection_start", lambda *a: begun.append(a) or begin(*a))
    path.write_text(f"zzz: {opening * 100_000}")
    with pytest.raises(SettingsError, match=f"nested deeper than {MAX_NESTED}"):
        load_settings(path, {})
    assert len(begun) == MAX_NESTED + 1


def test_a_variable_is_bounded_likewise(tmp_path: Path):
    path = tmp_path / "config.yaml"
    path.write_text(default_config())
    with pytest.raises(SettingsError, match="not YAML"):
        load_settings(path, {"CHURNOPS_DATA": "{" + MERGES.replace("\n", ", ") + "}"})


def test_keys_may_still_be_merged(tmp_path: Path):
    path = tmp_path / "config.yaml"
    path.write_text("x: &x {folds: 3}\n" + default_config().replace("training:\n", "training:\n  <<: *x\n", 1))
    with pytest.raises(SettingsError, match="unknown setting 'x'"):  # merged first, then refused for its own name
        load_settings(path, {})
