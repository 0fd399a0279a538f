"""Expressions of derived columns: results and refusals."""

import numpy as np
import pytest

from churnops.errors import ExpressionError
from churnops.features import FeatureMatrix, all_features, compile_expression
from churnops.features.build import BLOCK
from churnops.schema import Column, Schema
from churnops.settings import DerivedFeature, FeatureSettings

CONTRACT = Column(name="contract", kind="category", choices=("month", "year", "two years"))
COLUMNS = {"a": None, "b": None, "contract": CONTRACT}
ROWS = {"a": np.array([1.0, -2.0, 0.0]), "b": np.array([4.0, 0.0, 0.0]), "contract": np.array([0.0, 1.0, 2.0])}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", [1, -2, 0]),
        ("-a + 2 * b - 1", [6, 1, -1]),
        ("a / b", [0.25, 0, 0]),
        ("1 / 0", [0, 0, 0]),
        ("3", [3, 3, 3]),
        ("a > 0", [1, 0, 0]),
        ("not a", [0, 0, 1]),
        ("a and b", [1, 0, 0]),
        ("a or b > 3 or contract == 'two years'", [1, 1, 1]),
        ("(a > 0) + (b > 0)", [2, 0, 0]),  # two truths add up to 2, though NumPy's own + says 1
        ("(a > 0) * b", [4, 0, 0]),
        ("-(a > 0)", [-1, 0, 0]),
        ("min(a, b)", [1, -2, 0]),
        ("max(a, 0.5)", [1, 0.5, 0.5]),
        ("abs(a)", [1, 2, 0]),
        ("b if a > 0 else -1", [4, -1, -1]),
        ("(a > 0) if b > 0 else 7", [1, 7, 7]),
        ('contract == "two years"', [0, 0, 1]),
        ('"year" != contract', [1, 0, 1]),
    ],
)
def test_an_expression_is_computed_in_float64(text: str, expected: list[float]):
    computed = compile_expression(text, COLUMNS)(ROWS)
    assert computed.dtype == np.float64
    np.testing.assert_array_equal(computed, expected)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a +", "is not valid"),
        ("c", "no column 'c' here"),
        ("contrct", "did you mean 'contract'"),
        ("__import__('os').system('true')", "not part of the language"),
        ("a.real", "not part of the language"),
        ("a[0]", "not part of the language"),
        ("(lambda: a)()", "not part of the language"),
        ("[x for x in a]", "not part of the language"),
        ("a ** b", "not part of the language"),
        ("a // b", "not part of the language"),
        ("a if b", "is not valid"),
        ("min(a)", r"min\(\) takes 2"),
        ("min(a, b, key=a)", "not part of the language"),
        ("log(a)", "not part of the language"),
        ("min", "no column 'min'"),
        ("0 < a < 1", "a < b and b < c"),
        ("a == 'month'", "'a' is not a category"),
        ("contract == 'weekly'", "no choice 'weekly'"),
        ("'month'", "may only be compared"),
        ("contract + 1", "is a category, not a number"),
        ("contract == 2", "is a category, not a number"),
        ("a + True", "may only be compared"),
        ("1e999", "not part of the language"),
        ("1j", "not part of the language"),
        ("a" * 1001, "at most 1000"),
        ("+".join(["a"] * 400), "parts, at most 300"),
        ("(" * 900 + "a" + ")" * 90, "is not valid"),
        ("a\x00", "is not valid"),
        ("(b := a)", "not part of the language"),
        ("f'{a}'", "not part of the language"),
    ],
)
def test_an_invalid_expression_is_refused_in_one_line(text: str, reason: str):
    with pytest.raises(ExpressionError, match=reason) as caught:
        compile_expression(text, COLUMNS)
    assert "\n" not in str(caught.value)


SCHEMA = Schema(
    columns=(
        Column(name="minutes", kind="number"),
        CONTRACT,
        Column(name="note", kind="number", required=False),
        Column(name="churn", kind="target", choices=("0", "1")),
    )
)


def derived(**expressions: str) -> FeatureSettings:
    return FeatureSettings(derived=tuple(DerivedFeature(name=n, expression=text) for n, text in expressions.items()))


def test_a_category_becomes_one_feature_per_choice_but_the_first():
    features = all_features(SCHEMA, derived(double="2 * minutes", more="double + 1"))
    assert [f.name for f in features] == ["minutes", "contract=year", "contract=two years", "double", "more"]
    matrix = FeatureMatrix(SCHEMA.model_inputs, features, [f.name for f in features])
    found = matrix({"minutes": np.array([1.0, 5.0]), "contract": np.array([2.0, 0.0])})
    np.testing.assert_array_equal(found, [[1, 0, 1, 2, 3], [5, 0, 0, 10, 11]])


@pytest.mark.parametrize(
    ("expressions", "reason"),
    [
        ({"minutes": "1"}, "a column has that name already"),
        ({"note": "1"}, "a column has that name already"),
        ({"x": "note + 1"}, "no column 'note' here"),  # may be absent: then the customer would score differently
        ({"x": "churn"}, "no column 'churn' here"),
        ({"x": "y", "y": "1"}, "no column 'y' here"),
        ({"x": "x"}, "no column 'x' here"),
    ],
)
def test_a_derived_feature_uses_only_what_is_always_there(expressions: dict[str, str], reason: str):
    with pytest.raises(ExpressionError, match=reason):
        all_features(SCHEMA, derived(**expressions))


def test_only_what_is_needed_is_computed_and_blocks_join_seamlessly():
    features = all_features(SCHEMA, derived(double="2 * minutes", more="double + 1"))
    matrix = FeatureMatrix(SCHEMA.model_inputs, features, ["more"])
    rows = 2 * BLOCK + 1
    found = matrix({"minutes": np.arange(rows, dtype=np.float64), "contract": np.zeros(rows)})
    np.testing.assert_array_equal(found[:, 0], 2 * np.arange(rows) + 1)
    for selected in ([], ["more", "more"], ["absent"]):
        with pytest.raises(ExpressionError, match="unknown or repeated"):
            FeatureMatrix(SCHEMA.model_inputs, features, selected)


def test_a_column_or_a_choice_may_be_excluded_and_nothing_else():
    for name in ("minutes", "contract", "contract=year"):
        assert all_features(SCHEMA, FeatureSettings(exclude=(name,)))
    with pytest.raises(ExpressionError, match="no feature 'minuts': did you mean 'minutes'"):
        all_features(SCHEMA, FeatureSettings(exclude=("minuts",)))


def test_a_column_may_be_called_like_a_function():
    compiled = compile_expression("max(max, min) + abs", dict.fromkeys(("max", "min", "abs")))
    assert compiled.names == {"max", "min", "abs"}
    columns = {"max": np.array([1.0]), "min": np.array([5.0]), "abs": np.array([2.0])}
    np.testing.assert_array_equal(compiled(columns), [7.0])
