"""`import churnops` in a program: examples of the page and docstrings, and the numbers of API and commands."""

import doctest
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scripts.site import notebook

import churnops
from churnops import DataError, Model, ModelMonitor
from churnops.data.read import encode
from churnops.data.validate import check_customers
from churnops.errors import SettingsError
from tests.support.processes import CHURNOPS, run, run_fresh
from tests.support.projects import REPOSITORY, quick, write_project, write_small_data

HEAVY = (
    "numpy",
    "pandas",
    "polars",
    "pydantic",
    "mlflow",
    "sklearn",
    "xgboost",
    "scipy",
    "numba",
    "sqlalchemy",
    "click",
)
FUNCTIONS = [name for name in churnops.__all__ if name not in ("__version__", "ChurnopsError", "DataError")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small project on which the examples of the page have run."""
    folder = tmp_path_factory.mktemp("python")

    def change(document: dict[str, Any]) -> None:
        quick(document)
        document["training"]["families"] = ["logistic_regression"]
        document["training"]["trials"] = {"logistic_regression": 1}

    write_small_data(folder)
    write_project(folder, change)
    blocks = re.findall(r"^```python\n(.*?)^```", (REPOSITORY / "docs/python.md").read_text(), re.DOTALL | re.MULTILINE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert_examples_hold("docs/python.md", "\n".join(blocks))
    return folder


@pytest.fixture(autouse=True)
def project(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(folder)
    return folder


def test_the_notebook_of_the_documentation_runs():
    document = notebook.read()
    notebook.execute(document)
    assert "'total_day_minutes'" in json.dumps(document["cells"][-1]["outputs"])


@pytest.fixture
def model() -> Model:
    return churnops.load_model()


@pytest.fixture
def later(folder: Path) -> pl.DataFrame:
    return pl.read_csv(folder / "data/production/churn-later.csv")


def assert_examples_hold(name: str, text: str, names: dict[str, Any] | None = None) -> None:
    test = doctest.DocTestParser().get_doctest(text, names or {}, name, name, 0)
    for example in test.examples:
        example.options.pop(doctest.SKIP, None)
    printed: list[str] = []
    failed, tried = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=printed.append)
    assert tried
    assert not failed, "".join(printed)


def test_import_loads_no_library_and_offers_the_names(tmp_path):
    code = f"import sys, churnops; print(set(sys.modules) & set({HEAVY}), set(churnops.__all__) - set(dir(churnops)))"
    assert run_fresh(sys.executable, "-c", code, cwd=tmp_path).stdout == "set() set()\n"


def test_a_model_scores_dicts_and_polars_without_pandas_or_mlflow(folder):
    code = (
        "import sys, churnops, polars; model = churnops.load_model();"
        "model.predict(polars.read_csv('data/production/churn-later.csv'));"
        "print([name for name in ('pandas', 'mlflow', 'sklearn', 'sqlalchemy') if name in sys.modules])"
    )
    assert run_fresh(sys.executable, "-c", code, cwd=folder).stdout == "[]\n"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_example_of_each_name_holds(name):
    documented = getattr(churnops, name)
    assert_examples_hold(name, documented.__doc__, vars(sys.modules[documented.__module__]))


def test_unknown_names_are_missing_attributes():
    with pytest.raises(AttributeError, match="module 'churnops' has no attribute 'predict'"):
        churnops.predict  # noqa: B018


def test_every_form_of_customers_gets_the_numbers_of_the_command(folder, model, later, tmp_path):
    run(CHURNOPS, "predict", "data/production/churn-later.csv", str(tmp_path / "scored.parquet"), cwd=folder)
    expected = pl.read_parquet(tmp_path / "scored.parquet")["churn_probability"].to_numpy()
    frame = later.to_pandas()
    frame.index = pd.Index(range(1000, 1000 + len(frame)), name="place")
    answer = model.predict(frame)
    assert answer.index.equals(frame.index)
    same = {
        "polars": model.predict(later)["churn_probability"].to_numpy(),
        "pandas": answer["churn_probability"].to_numpy(),
        "dicts": np.array([row["churn_probability"] for row in model.predict(later.to_dicts())]),
        "texts": model.predict(later.cast(pl.String))["churn_probability"].to_numpy(),
        "file": model.predict(folder / "data/production/churn-later.csv")["churn_probability"].to_numpy(),
        "alone": np.array([model.predict(row)["churn_probability"] for row in later.head(20).to_dicts()]),
    }
    for form, values in same.items():
        assert np.array_equal(values, expected[: len(values)]), form


def test_a_dict_gets_the_numbers_and_reasons_of_the_api(model, later):
    from churnops.api.customers import CustomerForm

    form = CustomerForm(model.schema)
    for row in later.drop("Churn").head(20).to_dicts():
        values = form.encode([form.read(row)])
        expected = model.bundle.answers(values, 4)[0]
        answer = model.explain(row, top=4)
        assert answer["churn_probability"] == expected.probability
        assert [r["shap_value"] for r in answer["top_shap_features"]] == list(expected.values)
        assert [r["feature"] for r in answer["top_shap_features"]] == [
            model.bundle.selected[i] for i in expected.positions
        ]


def test_reasons_have_the_form_of_the_customers(model, later):
    table = model.explain(later.head(3), top=2)
    frame = model.explain(later.head(3).to_pandas(), top=2)
    assert table.columns == list(frame.columns)
    assert table["top_shap_features"].to_list() == frame["top_shap_features"].tolist()
    assert model.explain(later.head(3).to_dicts(), top=2) == table.to_dicts()
    assert model.predict(later.head(0)).height == len(model.predict(later.head(0).to_pandas())) == 0


def test_pandas_types_are_read_as_their_values(model, later):
    frame = later.to_pandas()
    other = frame.convert_dtypes().astype(
        {"State": "category", "Area code": "category", "Total day minutes": "float32"}
    )
    other["Voice mail plan"] = frame["Voice mail plan"] == "Yes"
    other["seen"] = pd.Timestamp("2026-01-01")
    other["odd"] = pd.arrays.IntervalArray.from_breaks(range(len(frame) + 1))
    other[7] = 1
    assert np.allclose(model.predict(other)["churn_probability"], model.predict(frame)["churn_probability"], atol=1e-3)


@pytest.mark.parametrize(
    ("customers", "message"),
    [
        ([], "the list of customers is empty: give at least one"),
        (7, "customers of type int cannot be read: give a dict, a list of dicts"),
        ([3], "customers of type list cannot be read"),
        ({}, "customers: column account_length ('Account length'): required column is missing"),
        ("no.csv", "no.csv"),
    ],
)
def test_what_is_no_customer_is_refused_in_one_line(model, customers, message):
    with pytest.raises(DataError) as caught:
        model.predict(customers)
    assert str(caught.value).splitlines()[0].startswith(message)


@pytest.mark.parametrize(
    "value", ["", None, float("nan"), np.float32("nan"), pd.NA, pd.NaT, 10**400, -1, "many", [1], {}, np.ones(2)]
)
def test_a_wrong_value_is_refused_with_its_column_and_row(model, later, value):
    rows = later.head(2).to_dicts()
    rows[1]["Total day minutes"] = value
    with pytest.raises(DataError, match=r"^customers: column total_day_minutes \('Total day minutes'\): .*row 2"):
        model.predict(rows)


def test_a_file_with_many_unknown_levels_needs_consent(model, later, tmp_path):
    table = later.head(100).with_columns(State=pl.lit("Atlantis"))
    table.write_csv(tmp_path / "moved.csv")
    with pytest.raises(DataError, match="has the spelling changed"):
        model.predict(tmp_path / "moved.csv")
    with pytest.warns(UserWarning, match="state"):
        accepted = model.predict(tmp_path / "moved.csv", accept_unknown=True)
    with pytest.warns(UserWarning, match="state"):
        assert accepted.equals(model.predict(table))


def test_repeated_headers_of_pandas_are_refused(model, later):
    frame = later.to_pandas()
    frame.columns = ["State", *frame.columns[:-1]]
    with pytest.raises(DataError, match="column 'State' is given twice"):
        model.predict(frame)


def test_a_model_is_loaded_from_a_project_or_its_own_folder(folder, model, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    versions = next((folder / "models/versions").iterdir())
    for source in (folder, str(folder), folder / "config.yaml", versions, folder / "models/production"):
        assert churnops.load_model(source).version == model.version
    with pytest.raises(SettingsError, match=r"has neither bundle\.json nor config\.yaml"):
        churnops.load_model(tmp_path)
    with pytest.raises(SettingsError, match=r"no config\.yaml in"):
        churnops.load_model()
    with pytest.raises(SettingsError, match="does not exist"):
        churnops.load_model(tmp_path / "other")


def test_a_scored_table_can_be_scored_again(model, later):
    scores = model.predict(later)
    assert model.predict(later.hstack(scores)).equals(scores)


def test_the_monitor_reports_on_customers_as_the_command_does(folder, later):
    report = ModelMonitor().check(later)
    document = churnops.monitor(folder / "data/production/churn-later.csv").cycle.report
    assert report.feature_drift == document.feature_drift
    assert report.performance == document.performance
    assert ModelMonitor().check(later.to_pandas()).feature_drift == report.feature_drift
    assert ModelMonitor().check(later.drop("Churn")).performance.evaluation is None


def test_the_monitor_checks_the_journal_and_leaves_no_trace(folder):
    before = sorted((folder / "monitoring").iterdir())
    report = ModelMonitor().check()
    assert report.rows == 0
    assert report.report_only
    assert sorted((folder / "monitoring").iterdir()) == before


def test_thresholds_replace_settings_and_are_checked(later):
    assert ModelMonitor(performance_threshold=0.99).check(later).threshold == 0.99
    with pytest.raises(SettingsError, match="did you mean 'drift_threshold'"):
        ModelMonitor(drift_treshold=0.1)
    with pytest.raises(SettingsError, match="drift_threshold"):
        ModelMonitor(drift_threshold=2)


def test_a_cycle_on_customers_in_memory_only_reports(later):
    summary = churnops.monitor(later.to_dicts())
    assert summary.cycle.report.report_only
    assert summary.cycle.path.exists()


def test_models_are_compared_on_customers_new_to_both(folder, model, later):
    raw = pl.read_csv(folder / "data/raw/churn-80.csv")
    decision = churnops.compare(model, model, pl.concat([later, raw]))
    assert decision.rows == later.height
    assert churnops.compare(model, model, raw).verdict == "cannot tell"
    with pytest.raises(DataError, match="required column is missing"):
        churnops.compare(model, model, later.drop("Account length"))


def test_simulated_customers_are_those_of_the_command(folder, tmp_path):
    run(CHURNOPS, "simulate", str(tmp_path / "made.parquet"), "--prior", "0.3", "--rows", "40", cwd=folder)
    assert churnops.simulate(40, prior=0.3).equals(pl.read_parquet(tmp_path / "made.parquet"))
    encoded = check_customers(churnops.simulate(40), churnops.load_model().schema, "made")
    assert len(encode(encoded, churnops.load_model().schema)) > 10


def test_files_of_a_run_are_private_and_the_umask_is_restored(folder):
    import os

    before = os.umask(0o022)
    try:
        churnops.monitor()
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)
    assert all(path.stat().st_mode & 0o077 == 0 for path in (folder / "monitoring").iterdir())
