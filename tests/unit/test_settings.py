"""`config.yaml` and `CHURNOPS_*` variables: everything unknown or out of range is refused in one line."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from churnops.cli import main
from churnops.errors import SettingsError
from churnops.features import all_features
from churnops.settings import SECRETS, Settings, default_config, find_config, load_settings
from tests.support.projects import REPOSITORY, write_project


def test_the_default_is_valid_and_is_the_repositorys_own(settings: Settings):
    assert (REPOSITORY / "config.yaml").read_text() == default_config()
    assert settings.random_state == 42
    assert settings.monitoring.performance_threshold == 0.75
    assert settings.monitoring.drift_threshold == 0.05
    assert settings.monitoring.drift_rate_threshold == 0.30
    assert settings.retraining.retraining_cooldown_days == 0
    assert settings.retraining.min_improvement == 0.01
    assert all_features(settings.table, settings.features)


def test_every_key_is_explained_in_the_default_config(settings: Settings):
    lines = default_config().splitlines()
    for section, content in settings.model_dump(exclude={"table"}).items():
        keys = content if isinstance(content, dict) else {section: content}
        for key in keys.keys() - {"derived"}:
            line = next(line for line in lines if line.strip().startswith(f"{key}:"))
            assert "#" in line, line


def test_keys_left_out_take_the_default(tmp_path: Path, settings: Settings):
    schema = yaml.safe_load(default_config())["schema"]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"schema": schema}))
    short = load_settings(tmp_path / "config.yaml", {})
    of_this_table = {"features": True, "monitoring": {"recipe_columns", "performance_threshold"}}
    assert short.monitoring.performance_threshold is None, "only the written one is 0.75"
    assert short.model_dump(exclude=of_this_table) == settings.model_dump(exclude=of_this_table)


def test_the_required_gain_has_a_default_for_each_metric(tmp_path: Path):
    def drop(document: dict[str, Any]) -> None:
        del document["retraining"]["min_improvement"]

    path = write_project(tmp_path, drop)
    for metric, gain in (("roc_auc", 0.01), ("average_precision", 0.02), ("log_loss", 0.005)):
        retraining = load_settings(path, {"CHURNOPS_RETRAINING__METRIC": metric}).retraining
        assert retraining.min_improvement == retraining.improvement == gain


def test_earlier_names_keep_their_meaning_and_give_a_line_each(tmp_path: Path):
    assert load_settings(write_project(tmp_path), {}).renamed == ()
    earlier = {"threads": 1, "min_improvement_average_precision": 0.03, "min_improvement_log_loss": 0.004}
    path = write_project(tmp_path, lambda document: document["retraining"].update(earlier))
    settings = load_settings(path, {})
    assert settings.renamed == (
        "the setting retraining.threads is now training.threads: the earlier name still works",
        "the setting retraining.min_improvement_average_precision is now retraining.min_improvement: "
        "the earlier name still works",
        "the setting retraining.min_improvement_log_loss is now retraining.min_improvement: "
        "the earlier name still works",
    )
    assert (settings.training.threads, settings.retraining_threads) == (2, 1)
    for metric, gain in (("roc_auc", 0.01), ("average_precision", 0.03), ("log_loss", 0.004)):
        assert load_settings(path, {"CHURNOPS_RETRAINING__METRIC": metric}).retraining.improvement == gain
    assert earlier.items() <= settings.model_dump()["retraining"].items()
    result = CliRunner().invoke(main, ["--config", str(path), "config", "check"])
    assert result.stderr.splitlines() == [f"warning: {line}" for line in settings.renamed]
    by_variable = load_settings(write_project(tmp_path), {"CHURNOPS_RETRAINING__THREADS": "3"})
    assert (by_variable.retraining_threads, len(by_variable.renamed)) == (3, 1)


def test_the_threads_of_the_training_count_for_a_retraining(tmp_path: Path):
    settings = load_settings(write_project(tmp_path), {"CHURNOPS_TRAINING__THREADS": "5"})
    assert (settings.retraining_threads, settings.renamed) == (5, ())


def test_a_variable_overrides_a_setting(tmp_path: Path):
    path = write_project(tmp_path)
    environment = {"CHURNOPS_MONITORING__DRIFT_THRESHOLD": "0.01", "CHURNOPS_TRAINING__FAMILIES": "[xgboost]", "X": "1"}
    changed = load_settings(path, environment)
    assert changed.monitoring.drift_threshold == 0.01
    assert changed.training.families == ("xgboost",)
    assert load_settings(path, {"CHURNOPS_CONFIG": str(path)}).monitoring.drift_threshold == 0.05


def test_a_demonstration_is_a_setting_and_shows_a_banner(tmp_path: Path):
    assert load_settings(write_project(tmp_path), {}).banner == ""
    demonstration = load_settings(write_project(tmp_path, lambda document: document.update(demonstration=True)), {})
    assert demonstration.banner == "Demonstration: simulated customers count as production in this project."


def test_files_that_are_scored_have_a_source_by_name(tmp_path: Path):
    settings = load_settings(write_project(tmp_path), {"CHURNOPS_DATA__BATCHES": "{weekly-1: data/weekly}"})
    assert settings.data.batches == {"weekly-1": "data/weekly"}


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("CHURNOPS_MONITR__X", "1", "unknown setting 'monitr'.*CHURNOPS_MONITR.*did you mean 'monitoring'"),
        ("CHURNOPS_MONITORING__DRIFT_TRESHOLD", "1", "did you mean 'drift_threshold'"),
        ("CHURNOPS_RANDOM_STAT", "1", "did you mean 'random_state'"),
        ("CHURNOPS_RANDOM_STATE__X", "1", "'random_state' has no settings below it"),
        (
            "CHURNOPS_MONITORING__DRIFT_THRESHOLD",
            "1.5",
            "drift_threshold.*from 1e-300 to 0.5, given 1.5",
        ),
        ("CHURNOPS_MONITORING__DRIFT_THRESHOLD", ".nan", "monitoring.drift_threshold.*given nan"),
        (
            "CHURNOPS_RETRAINING__EVERY_DAYS",
            "1.0e12",
            "every_days.*from 0.000012 to 36500 days, or 0, given",
        ),
        ("CHURNOPS_RETRAINING__RETRAINING_COOLDOWN_DAYS", "1.0e12", "cooldown_days.*to 36500 days, or 0, given"),
        ("CHURNOPS_TRAINING__FAMILIES", "[svm]", "training.families.0.*'xgboost'.*given the text 'svm'"),
        ("CHURNOPS_TRAINING__FOLDS", "[", "the value is not YAML"),
        ("CHURNOPS_DATA__BATCHES", "{live: data/live}", "data.batches.live.*'live' is reserved for churnops"),
        ("CHURNOPS_DATA__BATCHES", "{Week 1: data}", "data.batches.Week 1"),
        ("CHURNOPS_", "1", "unknown setting ''"),
        ("CHURNOPS_DEMONSTRATION", "true", "'demonstration' is read from config.yaml only"),
    ],
)
def test_a_wrong_variable_is_refused(tmp_path: Path, variable: str, value: str, message: str):
    with pytest.raises(SettingsError, match=message) as caught:
        load_settings(write_project(tmp_path), {variable: value})
    assert "\n" not in str(caught.value)


def test_a_column_of_answers_cannot_be_declared(tmp_path: Path):
    def change(document: dict[str, Any]) -> None:
        document["schema"]["columns"][-2]["name"] = "prediction_warnings"

    with pytest.raises(SettingsError, match="'prediction_warnings' is a column that churnops adds: rename yours"):
        load_settings(write_project(tmp_path, change))


def test_a_misspelt_key_deep_in_the_schema_is_named(tmp_path: Path):
    path = write_project(tmp_path, lambda document: document["schema"]["columns"][2].update(maximun=3))
    with pytest.raises(SettingsError, match=r"schema.columns.2.maximun.*did you mean 'maximum'"):
        load_settings(path, {})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("random_state: 1\nrandom_state: 2", "'random_state' is given twice"),
        ("random_state: 2024-13-45", "schema|random_state"),
        ("a: " + "[" * 5000, "nested deeper than 64"),
        ("", "contains no settings"),
        ("a: [", "is not YAML"),
        ("random_state: {{ seed }}", "is not YAML"),
        ("- 1", "contains no settings"),
        ("random_state: 1", "schema"),
    ],
)
def test_a_file_that_is_no_config_is_refused(tmp_path: Path, content: str, message: str):
    (tmp_path / "config.yaml").write_text(content)
    with pytest.raises(SettingsError, match=message):
        load_settings(tmp_path / "config.yaml", {})


def test_a_missing_config_names_the_command(tmp_path: Path):
    with pytest.raises(SettingsError, match="churnops init TABLE"):
        load_settings(tmp_path / "config.yaml", {})
    with pytest.raises(SettingsError, match="churnops init TABLE"):
        find_config(tmp_path, {})


def test_the_nearest_config_above_is_found(tmp_path: Path):
    path = write_project(tmp_path)
    (tmp_path / "a/b").mkdir(parents=True)
    assert find_config(tmp_path / "a/b", {}) == path
    assert find_config(tmp_path, {"CHURNOPS_CONFIG": "other.yaml"}) == Path("other.yaml")


def test_a_password_in_the_journals_url_is_not_repeated(tmp_path: Path):
    path = write_project(tmp_path)
    secret = load_settings(path, {"CHURNOPS_JOURNAL__URL": "postgresql+psycopg://u:hunter2@localhost/x"})
    assert "hunter2" not in repr(secret)
    with pytest.raises(SettingsError) as caught:
        load_settings(path, {"CHURNOPS_JOURNAL__URL": "[hunter2]"})
    assert "hunter2" not in str(caught.value)


def test_relative_paths_count_from_the_configs_folder(settings: Settings):
    assert settings.path("models") == settings.root / "models"
    for url in ("sqlite:///journal.db", "sqlite+pysqlite:///journal.db"):
        assert settings.database_url(url) == f"sqlite:///{settings.root}/journal.db"
    for unchanged in ("sqlite:////var/x.db", "sqlite:///:memory:", "postgresql://localhost/x"):
        assert settings.database_url(unchanged) == unchanged


def test_a_question_mark_in_the_path_would_end_a_databases_address(tmp_path: Path):
    settings = load_settings(write_project(tmp_path / "why?"))
    with pytest.raises(SettingsError, match="question mark"):
        settings.database_url(settings.journal.url)


def test_alert_channels_come_only_from_environment_and_are_hidden(tmp_path: Path):
    path = write_project(tmp_path, lambda document: document["alerts"].update(urls=["slack://TokenA/TokenB/TokenC"]))
    with pytest.raises(SettingsError, match="it comes from CHURNOPS_ALERTS__URLS") as caught:
        load_settings(path)
    assert "Token" not in str(caught.value)
    path = write_project(tmp_path)
    settings = load_settings(path, {"CHURNOPS_ALERTS__URLS": '["slack://TokenA/TokenB/TokenC"]'})
    assert settings.alerts.urls == ("slack://TokenA/TokenB/TokenC",)
    assert "Token" not in repr(settings) + settings.model_dump_json()
    for wrong in ("slack://TokenA/TokenB/TokenC", "[1]"):
        with pytest.raises(SettingsError, match=r"alerts\.urls") as caught:
            load_settings(path, {"CHURNOPS_ALERTS__URLS": wrong})
        assert "Token" not in str(caught.value)


def test_the_check_key_comes_only_from_the_environment_and_is_hidden(tmp_path: Path):
    path = write_project(tmp_path, lambda document: document["retraining"].update(check_key="churnops_1_Token"))
    with pytest.raises(SettingsError, match="it comes from CHURNOPS_RETRAINING__CHECK_KEY") as caught:
        load_settings(path)
    assert "Token" not in str(caught.value)
    path = write_project(tmp_path)
    settings = load_settings(path, {"CHURNOPS_RETRAINING__CHECK_KEY": "churnops_1_Token"})
    assert settings.retraining.check_key == "churnops_1_Token"
    assert "Token" not in repr(settings) + settings.model_dump_json() + str(settings.retraining)
    for wrong in ("[Token]", "{Token: 1}", "77777"):
        with pytest.raises(SettingsError, match=r"retraining\.check_key") as caught:
            load_settings(path, {"CHURNOPS_RETRAINING__CHECK_KEY": wrong})
        assert "Token" not in str(caught.value)
        assert "77777" not in str(caught.value)


@pytest.mark.parametrize("name", ["approval_key", "webhook_secret"])
def test_secrets_of_the_registry_are_hidden(tmp_path: Path, name: str):
    settings = load_settings(write_project(tmp_path), {f"CHURNOPS_REGISTRY__{name.upper()}": "churnops_1_Token"})
    assert getattr(settings.registry, name) == "churnops_1_Token"
    assert "Token" not in repr(settings) + settings.model_dump_json()


def test_a_variable_may_name_a_file_with_the_value(tmp_path: Path):
    path = write_project(tmp_path)
    (tmp_path / "urls").write_text("- slack://TokenA/TokenB/TokenC\n- json://alerts.example.org\n")
    (tmp_path / "key").write_text("churnops_1_Token\n")
    environment = {
        "CHURNOPS_ALERTS__URLS_FILE": str(tmp_path / "urls"),
        "CHURNOPS_RETRAINING__CHECK_KEY_FILE": "key",  # beside config.yaml
    }
    settings = load_settings(path, environment)
    assert settings.alerts.urls == ("slack://TokenA/TokenB/TokenC", "json://alerts.example.org")
    assert settings.retraining.check_key == "churnops_1_Token"
    assert "Token" not in repr(settings) + settings.model_dump_json()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "_FILE: .*/secret cannot be read: No such file or directory"),
        (b"Token\xff", "_FILE: .*/secret is not UTF-8"),
        (b"[Token", "CHURNOPS_ALERTS__URLS: the value is not YAML"),
        (b"Token", r"alerts\.urls"),
        (b"", r"alerts\.urls"),
        (b"#" * (2**21 + 1), "larger than 2 MiB"),
    ],
)
def test_a_wrong_file_of_a_variable_is_refused_without_its_text(tmp_path: Path, content: bytes | None, message: str):
    if content is not None:
        (tmp_path / "secret").write_bytes(content)
    with pytest.raises(SettingsError, match=message) as caught:
        load_settings(write_project(tmp_path), {"CHURNOPS_ALERTS__URLS_FILE": "secret"})
    assert "Token" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_empty_variable_of_a_secret_counts_as_not_set(tmp_path: Path):
    path = write_project(tmp_path)
    assert load_settings(path, dict.fromkeys(SECRETS.values(), "")) == load_settings(path, {})
    with pytest.raises(SettingsError, match=r"alerts\.link"):
        load_settings(path, {"CHURNOPS_ALERTS__LINK": ""})


def test_a_variable_and_its_file_are_not_both_accepted(tmp_path: Path):
    environment = {"CHURNOPS_TRAINING__FOLDS": "3", "CHURNOPS_TRAINING__FOLDS_FILE": "folds"}
    with pytest.raises(SettingsError, match="CHURNOPS_TRAINING__FOLDS_FILE are both set: unset one of them"):
        load_settings(write_project(tmp_path), environment)


def test_no_setting_ends_like_the_name_of_a_file(settings: Settings):
    sections = [content for content in settings.model_dump().values() if isinstance(content, dict)]
    assert [key for content in sections for key in content if key.endswith("_file")] == []


@pytest.mark.parametrize("url", ["", "http://127.0.0.1:8000", "https://churn.example.org/api/", "http://[::1]:8000"])
def test_the_address_of_the_check_is_one_of_the_web(tmp_path: Path, url: str):
    path = write_project(tmp_path, lambda document: document["retraining"].update(check_url=url))
    assert load_settings(path).retraining.check_url == url


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8000",
        "localhost",
        "ftp://host",
        "file:///etc/passwd",
        "http://",
        "http://:8000",
        "http://host:x",
        "http://host:99999",
        "http://ann:hunter2@host",
        "http://host/?key=hunter2",
        "http://host/#x",
        "http://ho st",
        "http://host\\@evil",
        "http://host/\nx",
        "http://é",
        "http://" + "a" * 70,
        "http://a..b",
    ],
)
def test_any_other_address_of_the_check_is_refused(tmp_path: Path, url: str):
    path = write_project(tmp_path, lambda document: document["retraining"].update(check_url=url))
    with pytest.raises(SettingsError, match=r"'retraining\.check_url': must be an address such as http://") as caught:
        load_settings(path)
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_split_in_time_needs_the_time_of_the_rows(tmp_path: Path):
    path = write_project(tmp_path, lambda document: document["evaluation"].update(split="time"))
    with pytest.raises(SettingsError, match=r"evaluation\.split: time needs a column of kind `time`.*--time") as error:
        load_settings(path, {})
    assert "given" not in str(error.value)
