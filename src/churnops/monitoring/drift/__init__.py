"""Does a column of a batch differ from the reference? One statistical test a file, all of one form.

A test is a function from two `ColumnProfile`s, the batch's counted in the cells of the reference's, to a `Finding`. It
never fails for what is in the data: with too few rows it cannot tell. Another test is one more file, say `tails.py`:

    def tail_test(reference: ColumnProfile, batch: ColumnProfile) -> Finding:
        if (short := cannot_tell("tails", reference, batch)) is not None:
            return short
        ...
        return Finding("tails", statistic, p_value, effect, reason)

and a place in `tests_for`, which says what kind of column it is for. What is made of findings is not decided here.
"""

from collections.abc import Callable

from churnops.data.profile import ColumnProfile
from churnops.monitoring.drift.chi_square import chi_square_test
from churnops.monitoring.drift.finding import MIN_ROWS, Finding
from churnops.monitoring.drift.ks import ks_statistic, ks_test
from churnops.monitoring.drift.missing import missing_rate_test
from churnops.monitoring.drift.unseen import unseen_category_test
from churnops.schema import Column

Test = Callable[[ColumnProfile, ColumnProfile], Finding]


def tests_for(column: Column) -> tuple[Test, ...]:
    """Return the tests of an input, that of its distribution first.

    Examples
    --------
    >>> [test.__name__ for test in tests_for(Column(name="minutes", kind="number"))]
    ['ks_test', 'missing_rate_test']
    >>> [test.__name__ for test in tests_for(Column(name="plan", kind="category", choices=("a", "b"), required=False))]
    ['chi_square_test', 'unseen_category_test']
    """
    tests: tuple[Test, ...] = (ks_test if column.numeric else chi_square_test,)
    if column.kind == "category":
        tests += (unseen_category_test,)
    if column.required:  # whoever leaves out an optional column changes nothing
        tests += (missing_rate_test,)
    return tests


__all__ = [
    "MIN_ROWS",
    "Finding",
    "Test",
    "chi_square_test",
    "ks_statistic",
    "ks_test",
    "missing_rate_test",
    "tests_for",
    "unseen_category_test",
]
