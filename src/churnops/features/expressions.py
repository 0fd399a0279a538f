"""The expression language of derived columns, compiled once to a chain of NumPy calls.

It is a subset of Python's own syntax: numbers, column names, `+ - * /`, comparisons, `and`, `or`, `not`, `min()`,
`max()`, `abs()`, `a if condition else b`, and a category compared with one of its choices in quotes. Every operation is
element by element and correctly rounded (IEEE 754), so a customer gets the same bits alone, in a batch and in any
order; that is why there is no logarithm, and nothing that looks at other rows. A division by zero is 0, so that a
feature is a number whatever the customer.

Nothing is evaluated as Python: the syntax tree is checked and turned into closures, so an expression from a forged
bundle can do no more than arithmetic.
"""

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from churnops.errors import ExpressionError
from churnops.schema import Column, Columns, nearest

MAX_NODES = 300
MAX_LENGTH = 1000

Values = NDArray[np.float64]
_Compute = Callable[[Columns], Values]


def _divide(a: Values, b: Values) -> Values:
    zero = np.equal(b, 0.0)
    if not zero.any():
        return np.divide(a, b)
    return np.where(zero, 0.0, np.divide(a, np.where(zero, 1.0, b)))


_BINARY: Mapping[type[ast.operator], Callable[[Values, Values], Values]] = {
    ast.Add: np.add, ast.Sub: np.subtract, ast.Mult: np.multiply, ast.Div: _divide,
}  # fmt: skip
_COMPARE: Mapping[type[ast.cmpop], Callable[[Values, Values], Values]] = {
    ast.Lt: np.less, ast.LtE: np.less_equal, ast.Gt: np.greater, ast.GtE: np.greater_equal,
    ast.Eq: np.equal, ast.NotEq: np.not_equal,
}  # fmt: skip
_FUNCTIONS: Mapping[str, tuple[int, Callable[..., Values]]] = {
    "min": (2, np.minimum), "max": (2, np.maximum), "abs": (1, np.abs),
}  # fmt: skip


@dataclass(frozen=True)
class _Node:
    """A compiled part: how to compute it, and whether the result is a truth value (Boolean array)."""

    compute: _Compute
    boolean: bool = False

    def number(self) -> _Compute:
        """Compute as numbers: truth becomes 1 and 0 (NumPy would add two Booleans to one)."""
        compute = self.compute
        return (lambda c: compute(c).astype(np.float64)) if self.boolean else compute


@dataclass(frozen=True)
class Expression:
    """A compiled expression: call it with encoded columns; `names` are the columns it reads."""

    names: frozenset[str]
    compute: _Compute

    def __call__(self, columns: Columns) -> Values:
        """Compute for every row of the columns."""
        return self.compute(columns)


def compile_expression(text: str, columns: Mapping[str, Column | None]) -> Expression:
    """Compile an expression over the named columns.

    Parameters
    ----------
    text
        The expression, at most 1,000 characters.
    columns
        Names that may be used; the value is the Schema's column, or None for a derived one.

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
        raise ExpressionError(f"expression {text[:100]!r} is not valid: see the comment in config.yaml") from None
    nodes = list(ast.walk(tree))
    if len(nodes) > MAX_NODES:
        raise ExpressionError(f"expression {text[:60]!r}… has {len(nodes)} parts, at most {MAX_NODES} are allowed")
    compiler = _Compiler(text, columns)
    functions = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    names = frozenset(node.id for node in nodes if isinstance(node, ast.Name) and id(node) not in functions)
    compute = compiler.compile(tree).number()
    # A constant has no rows of its own: it takes as many as the columns have.
    broadcast: _Compute = lambda c: np.full(len(next(iter(c.values()))), compute(c))  # noqa: E731
    return Expression(names, compute if names else broadcast)


class _Compiler:
    def __init__(self, text: str, columns: Mapping[str, Column | None]) -> None:
        self.text = text
        self.columns = columns
        self.compared: set[int] = set()  # categories that stand beside a choice

    def error(self, reason: str) -> ExpressionError:
        shown = self.text if len(self.text) <= 100 else self.text[:100] + "…"
        return ExpressionError(f"expression {shown!r}: {reason}")

    def compile(self, node: ast.expr) -> _Node:
        """Compile one node and what is below it."""
        match node:
            case ast.Constant(value=bool() | str()):
                raise self.error(f"{node.value!r} may only be compared with a category that has this choice")
            case ast.Constant(value=int() | float() as number) if abs(number) < 1e300:
                constant = np.float64(number)
                return _Node(lambda c: constant)  # type: ignore[arg-type,return-value]
            case ast.Name(id=name):
                if name not in self.columns:
                    raise self.error(f"there is no column '{name}' here: {nearest(name, self.columns)}")
                column = self.columns[name]
                if column is not None and column.kind == "category" and id(node) not in self.compared:
                    raise self.error(f"'{name}' is a category, no number: compare it with one of its choices in quotes")
                return _Node(lambda c: c[name])
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                value = self.compile(operand).number()
                return _Node(lambda c: np.negative(value(c)))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                value = self.compile(operand).compute
                return _Node(lambda c: np.logical_not(value(c)), boolean=True)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
                return self._binary(_BINARY[type(op)], left, right, boolean=False)
            case ast.BoolOp(op=op, values=values):
                return self._boolean(np.logical_and if isinstance(op, ast.And) else np.logical_or, values)
            case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _COMPARE:
                left, right = self._choices_as_codes(left, right)
                return self._binary(_COMPARE[type(op)], left, right, boolean=True)
            case ast.Compare(ops=ops) if len(ops) > 1:
                raise self.error("write `a < b < c` as `a < b and b < c`")
            case ast.IfExp(test=test, body=body, orelse=orelse):
                condition, yes, no = (
                    self.compile(test).compute,
                    self.compile(body).number(),
                    self.compile(orelse).number(),
                )
                return _Node(lambda c: np.where(condition(c), yes(c), no(c)))
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _FUNCTIONS:
                arity, function = _FUNCTIONS[name]
                if len(arguments) != arity:
                    raise self.error(f"{name}() takes {arity} value{'s' if arity > 1 else ''}")
                if arity == 1:
                    value = self.compile(arguments[0]).number()
                    return _Node(lambda c: function(value(c)))
                return self._binary(function, arguments[0], arguments[1], boolean=False)
            case _:
                raise self.error(f"`{ast.unparse(node)[:40]}` is not part of the language")

    def _binary(
        self, function: Callable[[Values, Values], Values], left: ast.expr, right: ast.expr, *, boolean: bool
    ) -> _Node:
        a, b = self.compile(left).number(), self.compile(right).number()
        return _Node(lambda c: function(a(c), b(c)), boolean)

    def _boolean(self, function: Callable[[Values, Values], Values], values: list[ast.expr]) -> _Node:
        first, *others = [self.compile(value).compute for value in values]

        def compute(columns: Columns) -> Values:
            result = first(columns)
            for other in others:
                result = function(result, other(columns))
            return result

        return _Node(compute, boolean=True)

    def _choices_as_codes(self, left: ast.expr, right: ast.expr) -> tuple[ast.expr, ast.expr]:
        """Replace a quoted choice that is compared with its category by the choice's index."""
        for category, choice in ((left, right), (right, left)):
            if isinstance(choice, ast.Constant) and isinstance(choice.value, str) and isinstance(category, ast.Name):
                column = self.columns.get(category.id)
                if column is None or not column.choices:
                    raise self.error(f"'{category.id}' is no category, so it cannot be compared with text")
                if choice.value not in column.choices:
                    raise self.error(
                        f"'{category.id}' has no choice {choice.value!r}: {nearest(choice.value, column.choices)}"
                    )
                self.compared.add(id(category))
                code = ast.Constant(float(column.choices.index(choice.value)))
                return (category, code) if category is left else (code, category)
        return left, right
