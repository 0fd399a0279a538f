"""Columns before and now: important columns with large changes come first, and all rows are counted."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from churnops.app.monitoring import columns as module
from churnops.app.monitoring.columns import (
    Ranked,
    column_sentence,
    count_batch,
    ranked,
    verdict,
)
from churnops.data.profile import ColumnProfile, count_profile
from churnops.data.read import decode
from churnops.decision.sample import read_reference
from churnops.errors import DataError
from churnops.evaluation.importance import column_importance, sources
from churnops.model import Bundle
from churnops.monitoring.document import ColumnPart
from churnops.pipelines.run_all import RunSummary
from churnops.registry.reference import reference_path
from churnops.schema import Column
from churnops.settings import MonitoringSettings, Settings

SETTINGS = MonitoringSettings(min_distance=0.1, min_psi=0.2)


def finding(name: str, effect: float | None, test: str = "ks", drifted: bool | None = False) -> ColumnPart:
    given = {"name": name, "test": test, "effect": effect, "p_value": 0.1, "drifted": drifted, "reason": "reason"}
    return ColumnPart.read(given)


@pytest.fixture
def bundle(project: tuple[Settings, RunSummary]) -> Bundle:
    return Bundle.load(project[0].root / "models" / "production")


def test_columns_are_ordered_by_importance_times_relative_drift():
    given = [
        finding("quiet", 0.05),
        finding("unused", 0.9),
        finding("gone", None),
        finding("moved", 0.2),
        finding("category", 0.3, "chi_square"),
        finding("unused_too", 0.95, "nonsense"),
    ]
    found = ranked(given, {"quiet": 0.5, "moved": 0.2, "category": 0.3}, SETTINGS)
    assert [one.finding.name for one in found] == ["category", "moved", "quiet", "unused", "gone", "unused_too"]
    assert [one.size for one in found][:3] == pytest.approx([1.5, 2.0, 0.5])
    assert found[3].importance == 0.0


def test_without_importance_columns_are_ordered_by_drift():
    found = ranked([finding("a", 0.1), finding("b", -0.3)], None, SETTINGS)
    assert [(one.finding.name, one.importance) for one in found] == [("b", None), ("a", None)]


def test_a_smallest_effect_of_0_in_the_settings_divides_by_no_zero():
    plain = MonitoringSettings(min_distance=0.0, min_psi=0.0)
    assert ranked([finding("a", 0.16)], None, plain)[0].size == pytest.approx(2.0)


def test_features_are_traced_to_the_columns_they_are_computed_from(bundle: Bundle):
    found = sources(bundle)
    assert list(found) == list(bundle.selected)
    minutes = {"total_day_minutes", "total_eve_minutes", "total_night_minutes", "total_intl_minutes"}
    if "bill_without_voice_mail" in found:
        assert found["bill_without_voice_mail"] == minutes | {"voice_mail_plan"}, "through another feature"
    assert any(len(columns) > 1 for columns in found.values())


def test_importance_is_the_mean_absolute_contribution_by_column(project: tuple[Settings, RunSummary], bundle: Bundle):
    path = reference_path(project[0].root / "models", bundle.content_sha256)
    sample = read_reference(path, bundle.schema)
    assert sample is not None
    shares = column_importance(bundle, sample.columns)
    assert sum(shares.values()) == pytest.approx(1.0)
    few = {name: values[:200] for name, values in sample.columns.items()}
    sizes = np.abs(bundle.explain(few).contributions).mean(axis=0)
    expected: dict[str, float] = {}
    for names, size in zip(sources(bundle).values(), sizes, strict=True):
        for name in names:
            expected[name] = expected.get(name, 0.0) + size / sizes.sum() / len(names)
    assert column_importance(bundle, few) == pytest.approx({name: s for name, s in expected.items() if s})


def test_without_a_sample_the_probe_rows_are_explained(bundle: Bundle):
    assert column_importance(bundle, None) == column_importance(bundle, bundle.probes)


def test_a_batch_is_counted_whole_and_as_its_rows_are(project: tuple[Settings, RunSummary], bundle: Bundle):
    folder = project[0].path(project[0].monitoring.directory)
    (path,) = folder.glob("production_batch_*.csv")
    counted = count_batch(path, bundle)
    rows = len(path.read_text().splitlines()) - 1
    assert (counted.rows, counted.whole) == (rows, True)
    assert set(counted.profile) == {c.name for c in bundle.schema.inputs if c.name in bundle.reference}
    assert all(p.rows + p.missing == rows for p in counted.profile.values())


def test_only_the_first_rows_of_a_long_batch_are_counted_with_a_note(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "BLOCK", 5)
    monkeypatch.setattr(module, "BLOCKS", 2)
    count = next(iter(bundle.probes.values())).size
    rows: Mapping[str, Any] = bundle.probes
    table = decode(rows, np.full(count, np.nan), bundle.schema)
    for height, whole in ((10, True), (11, False)):
        table.head(height).write_csv(tmp_path / "batch.csv")
        counted = count_batch(tmp_path / "batch.csv", bundle)
        assert (counted.rows, counted.whole) == (10, whole)
    first = {name: values[:10] for name, values in rows.items()}
    for name, profile in count_profile({n: bundle.reference[n] for n in first}, first).items():
        assert counted.profile[name].counts.tolist() == profile.counts.tolist()


@pytest.mark.parametrize("content", [None, "", "minutes\n", "minutes,calls\n1\n", "\x00\x01", "state\nKS\n"])
def test_a_batch_that_is_missing_or_damaged_is_a_sentence(bundle: Bundle, tmp_path: Path, content: str | None):
    if content is not None:
        (tmp_path / "batch.csv").write_text(content)
    with pytest.raises(DataError):
        count_batch(tmp_path / "batch.csv", bundle)


def test_a_batch_behind_a_link_is_not_opened(bundle: Bundle, tmp_path: Path):
    (tmp_path / "batch.csv").symlink_to("/etc/passwd")
    with pytest.raises(DataError, match="no longer exists beside the report"):
        count_batch(tmp_path / "batch.csv", bundle)


def profile(values: list[float], reference: ColumnProfile | None = None) -> ColumnProfile:
    array = np.array(values, dtype=np.float64)
    return ColumnProfile.fit(array) if reference is None else reference.count(array)


def test_a_number_is_described_by_its_medians_and_missing_values():
    before = profile([1.0, 2.0, 3.0, np.nan])
    said = column_sentence(Column(name="calls", kind="integer"), before, profile([3.0, 3.0], before))
    assert said == "The median was 2 and is 3. Missing values: 25 % before, 0 % now."
    assert "outside the range" in column_sentence(None, before, profile([9.0], before))
    assert column_sentence(None, before, before.empty()) == "No customer has a value now."


def test_medians_have_the_columns_unit():
    before = profile([1.0, 2.0, 3.0])
    told = column_sentence(Column(name="talk", kind="number", unit="min"), before, profile([2.0, 3.0, 3.0], before))
    assert told.startswith("The median was 2 min and is 3 min.")


def test_a_category_is_described_by_largest_change_and_new_choices():
    column = Column(name="plan", kind="category", choices=("gold", "<b>", "new"))
    before = profile([0.0, 0.0, 0.0, 1.0])
    assert column_sentence(column, before, profile([1.0, 1.0, 0.0, 2.0], before)) == (
        "gold: 75 % before, 25 % now. 25 % of the known values are choices that are new since training."
    )


@pytest.mark.parametrize(
    ("drifted", "importance", "expected"),
    [
        (True, 0.25, "drifted, importance 25 %"),
        (False, 0.0, "no drift, not used by the model"),
        (None, None, "cannot tell"),
    ],
)
def test_a_verdict_has_the_importance_of_the_column(drifted, importance, expected):
    assert verdict(Ranked(finding("a", 0.1, drifted=drifted), importance, 1.0)) == expected
