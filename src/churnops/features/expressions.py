"""Expression language of derived features, compiled once to a chain of NumPy calls.

It is a subset of Python's syntax: numbers, column names, `+ - * /`, comparisons, `and`, `or`, `not`, `min()`, `max()`,
`abs()`, `a if condition else b`, and a category compared with one of its choices in quotes. Every operation works
element by element and is correctly rounded (IEEE 754), so a customer gets the same bits alone, in a batch and in any
order. Therefore the language has no logarithm, and no operation over several rows. A division by zero is 0, so that a
feature is a number for every customer.

Nothing is evaluated as Python. The syntax tree is checked and turned into closures, so an expression in a forged bundle
can only do arithmetic.
"""

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from churnops.errors import ExpressionError
from churnops.schema import Column, Columns, nearest

MAX_NODES = 300
MAX_LENGTH = 1000

Values = NDArray[np.float64]
_Compute = Callable[[Mapping[str, Any]], Any]


def _divide(a: Values, b: Values) -> Values:
    zero = np.equal(b, 0.0)
    if not zero.any():
        return np.divide(a, b)
    return np.where(zero, 0.0, np.divide(a, np.where(zero, 1.0, b)))


def _nan_or(a: float, b: float, chosen: float) -> float:
    """Return `chosen`, or NaN if one of the numbers is NaN, as in NumPy."""
    return a if a != a else b if b != b else chosen


# Operations on columns (arrays) and on one customer's numbers, for which NumPy's calls would take ten times as long.
# Both round alike, so the results have the same bits.
_ARRAYS: Mapping[Any, Callable[..., Any]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: _divide,
    ast.USub: np.negative,
    ast.Lt: np.less,
    ast.LtE: np.less_equal,
    ast.Gt: np.greater,
    ast.GtE: np.greater_equal,
    ast.Eq: np.equal,
    ast.NotEq: np.not_equal,
    ast.And: np.logical_and,
    ast.Or: np.logical_or,
    ast.Not: np.logical_not,
    "min": np.minimum,
    "max": np.maximum,
    "abs": np.abs,
    "number": lambda v: v.astype(np.float64),
    "choose": np.where,
}
_NUMBERS: Mapping[Any, Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: lambda a, b: a / b if b != 0.0 else 0.0,
    ast.USub: operator.neg,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.And: lambda a, b: bool(a and b),
    ast.Or: lambda a, b: bool(a or b),
    ast.Not: operator.not_,
    "min": lambda a, b: _nan_or(a, b, min(a, b)),
    "max": lambda a, b: _nan_or(a, b, max(a, b)),
    "abs": abs,
    "number": float,
    "choose": lambda test, yes, no: yes if test else no,
}
_BINARY = (ast.Add, ast.Sub, ast.Mult, ast.Div)
_COMPARE = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq)
_ARITY = {"min": 2, "max": 2, "abs": 1}


@dataclass(frozen=True)
class _Node:
    """Compiled part of an expression; `boolean` if its result is a truth value."""

    compute: _Compute
    boolean: bool = False


@dataclass(frozen=True)
class Expression:
    """Compiled expression: a function of encoded columns; `names` are the columns that it reads."""

    names: frozenset[str]
    compute: _Compute
    compute_one: _Compute

    def __call__(self, columns: Columns) -> Values:
        """Compute the values of all rows."""
        values: Values = self.compute(columns)
        return values

    def one(self, values: Mapping[str, float]) -> float:
        """Compute the value of one customer; it has the same bits as in a column."""
        value: float = self.compute_one(values)
        return value


def compile_expression(text: str, columns: Mapping[str, Column | None]) -> Expression:
    """Compile an expression over the named columns.

    Parameters
    ----------
    text
        The expression, at most 1,000 characters.
    columns
        Columns that the expression may use, by name; None for a derived feature.

    Raises
    ------
    ExpressionError
        If the text is not in the language, or names a column or choice that does not exist.

    Examples
    --------
    >>> risk = compile_expression("minutes / calls > 5 and plan == 1", {"minutes": None, "calls": None, "plan": None})
    >>> risk({"minutes": np.array([30.0, 30.0]), "calls": np.array([3.0, 0.0]), "plan": np.array([1.0, 1.0])})
    array([1., 0.])
    """
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"expression of {len(text)} characters: at most {MAX_LENGTH} are allowed")
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ExpressionError(f"expression {text[:100]!r} is not valid: see 'features' in config.yaml") from None
    nodes = list(ast.walk(tree))
    if len(nodes) > MAX_NODES:
        raise ExpressionError(f"expression {text[:60]!r}… has {len(nodes)} parts, at most {MAX_NODES} are allowed")
    functions = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    names = frozenset(node.id for node in nodes if isinstance(node, ast.Name) and id(node) not in functions)
    compute, compute_one = (_Compiler(text, columns, operations).number(tree) for operations in (_ARRAYS, _NUMBERS))
    # A constant is repeated for each row of the columns.
    broadcast: _Compute = lambda c: np.full(len(next(iter(c.values()))), compute(c))  # noqa: E731
    return Expression(names, compute if names else broadcast, compute_one)


class _Compiler:
    def __init__(
        self, text: str, columns: Mapping[str, Column | None], operations: Mapping[Any, Callable[..., Any]]
    ) -> None:
        self.text = text
        self.columns = columns
        self.operations = operations
        self.compared: set[int] = set()  # ids of categories compared with a choice

    def error(self, reason: str) -> ExpressionError:
        shown = self.text if len(self.text) <= 100 else self.text[:100] + "…"
        return ExpressionError(f"expression {shown!r}: {reason}")

    def number(self, node: ast.expr) -> _Compute:
        """Compile a node to a number; a truth value becomes 1 or 0, because in NumPy True + True is True."""
        compiled = self.compile(node)
        compute, number = compiled.compute, self.operations["number"]
        return (lambda c: number(compute(c))) if compiled.boolean else compute

    def compile(self, node: ast.expr) -> _Node:
        """Compile a node with all nodes below it."""
        match node:
            case ast.Constant(value=bool() | str() | int() | float() as value) if (
                isinstance(value, str) or abs(value) < 1e300
            ):
                return self._constant(value)
            case ast.Name(id=name):
                return self._column(name, compared=id(node) in self.compared)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self._unary(ast.USub, self.number(operand))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return self._unary(ast.Not, self.compile(operand).compute, boolean=True)
            case ast.BinOp(left=left, op=op, right=right) if isinstance(op, _BINARY):
                return self._binary(type(op), left, right)
            case ast.BoolOp(op=op, values=values):
                return self._boolean(type(op), values)
            case ast.Compare(ops=[op, *others]) if others or isinstance(op, _COMPARE):
                return self._compare(node)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                condition, yes, no = self.compile(test).compute, self.number(body), self.number(orelse)
                choose = self.operations["choose"]
                return _Node(lambda c: choose(condition(c), yes(c), no(c)))
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _ARITY:
                return self._call(name, arguments)
            case _:
                raise self.error(f"`{ast.unparse(node)[:40]}` is not part of the language")

    def _constant(self, value: bool | str | int | float) -> _Node:
        if isinstance(value, bool | str):
            raise self.error(f"{value!r} may only be compared with a category that has this choice")
        constant = np.float64(value) if self.operations is _ARRAYS else float(value)
        return _Node(lambda c: constant)

    def _column(self, name: str, *, compared: bool) -> _Node:
        """Compile a column's name; a category must be compared with one of its choices."""
        if name not in self.columns:
            raise self.error(f"there is no column '{name}' here: {nearest(name, self.columns)}")
        column = self.columns[name]
        if column is not None and column.kind == "category" and not compared:
            raise self.error(f"'{name}' is a category, not a number: compare it with one of its choices in quotes")
        return _Node(lambda c: c[name])

    def _call(self, name: str, arguments: list[ast.expr]) -> _Node:
        if len(arguments) != _ARITY[name]:
            raise self.error(f"{name}() takes {_ARITY[name]} value{'s' if _ARITY[name] > 1 else ''}")
        if len(arguments) == 1:
            return self._unary(name, self.number(arguments[0]))
        return self._binary(name, arguments[0], arguments[1])

    def _unary(self, operation: Any, value: _Compute, *, boolean: bool = False) -> _Node:
        function = self.operations[operation]
        return _Node(lambda c: function(value(c)), boolean)

    def _binary(self, operation: Any, left: ast.expr, right: ast.expr, *, boolean: bool = False) -> _Node:
        function, a, b = self.operations[operation], self.number(left), self.number(right)
        return _Node(lambda c: function(a(c), b(c)), boolean)

    def _boolean(self, operation: Any, values: list[ast.expr]) -> _Node:
        function = self.operations[operation]
        first, *others = [self.compile(value).compute for value in values]

        def compute(columns: Mapping[str, Any]) -> Any:
            result = first(columns)
            for other in others:
                result = function(result, other(columns))
            return result

        return _Node(compute, boolean=True)

    def _compare(self, node: ast.Compare) -> _Node:
        if len(node.ops) > 1:
            raise self.error("write `a < b < c` as `a < b and b < c`")
        left, right = self._choices_as_codes(node.left, node.comparators[0])
        return self._binary(type(node.ops[0]), left, right, boolean=True)

    def _choices_as_codes(self, left: ast.expr, right: ast.expr) -> tuple[ast.expr, ast.expr]:
        """Replace a quoted choice by its index if it is compared with its category."""
        for category, choice in ((left, right), (right, left)):
            if isinstance(choice, ast.Constant) and isinstance(choice.value, str) and isinstance(category, ast.Name):
                column = self.columns.get(category.id)
                if column is None or not column.choices:
                    raise self.error(f"'{category.id}' is not a category, so it cannot be compared with text")
                if choice.value not in column.codes:
                    raise self.error(
                        f"'{category.id}' has no choice {choice.value!r}: {nearest(choice.value, column.choices)}"
                    )
                self.compared.add(id(category))
                code = ast.Constant(float(column.codes[choice.value]))
                return (category, code) if category is left else (code, category)
        return left, right
