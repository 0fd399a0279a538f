"""The compiled expression equals Python's own arithmetic, row by row."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from churnops.features import compile_expression

NUMBERS = st.floats(-1e6, 1e6)
LEAVES = st.sampled_from(["a", "b", "c", "2", "0.5"])


def extend(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pair = st.tuples(children, children)
    return st.one_of(
        pair.flatmap(
            lambda p: st.sampled_from(["+", "-", "*", "<", "<=", ">", ">=", "==", "!="]).map(
                lambda op: f"({p[0]} {op} {p[1]})"
            )
        ),
        pair.flatmap(lambda p: st.sampled_from(["min", "max"]).map(lambda f: f"{f}({p[0]}, {p[1]})")),
        children.map(lambda x: f"abs({x})"),
        children.map(lambda x: f"(-{x})"),
        st.tuples(children, children, children).map(lambda t: f"({t[0]} if {t[1]} else {t[2]})"),
    )


@given(
    st.recursive(LEAVES, extend, max_leaves=12), st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=5)
)
def test_an_expression_has_pythons_value(text: str, rows: list[tuple[float, float, float]]):
    columns = {name: np.array([row[i] for row in rows]) for i, name in enumerate("abc")}
    computed = compile_expression(text, dict.fromkeys("abc"))(columns)
    expected = [
        float(eval(text, {"min": min, "max": max, "abs": abs}, dict(zip("abc", row, strict=True)))) for row in rows
    ]
    np.testing.assert_array_equal(computed, expected)


SPECIAL = st.sampled_from([0.0, -0.0, 1e308, -1e308, 5e-324, float("inf"), float("-inf"), float("nan")])


@given(st.recursive(LEAVES, extend, max_leaves=12), st.tuples(*[NUMBERS | SPECIAL] * 3))
def test_one_customer_has_the_bits_of_a_column(text: str, row: tuple[float, float, float]):
    expression = compile_expression(f"({text}) / (a - b)", dict.fromkeys("abc"))
    with np.errstate(all="ignore"):
        column = expression({name: np.array([value]) for name, value in zip("abc", row, strict=True)})
    np.testing.assert_array_equal(expression.one(dict(zip("abc", row, strict=True))), column[0])


@given(st.lists(st.tuples(NUMBERS, NUMBERS.filter(lambda b: b == 0 or abs(b) > 1e-9)), min_size=1, max_size=20))
def test_a_division_is_finite_whatever_the_customer(rows: list[tuple[float, float]]):
    a, b = (np.array([row[i] for row in rows]) for i in (0, 1))
    computed = compile_expression("a / b", {"a": None, "b": None})({"a": a, "b": b})
    zero = b == 0
    assert np.isfinite(computed).all()
    np.testing.assert_array_equal(computed[zero], 0.0)
    np.testing.assert_array_equal(computed[~zero], a[~zero] / b[~zero])
