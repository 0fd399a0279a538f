"""Drift tests: one statistical test of a column per file, all with the same signature.

A test is a function from two `ColumnProfile`s to a `Finding`; the batch is counted in the cells of the reference. With
too few rows, a test raises no error but returns "cannot tell". A new test is a new file, such as `tails.py`:

    def tail_test(reference: ColumnProfile, batch: ColumnProfile) -> Finding:
        if (short := cannot_tell("tails", reference, batch)) is not None:
            return short
        ...
        return Finding("tails", statistic, p_value, effect, reason)

and a line in `tests_for`, which maps the kinds of columns to tests. `verdicts` decides on the findings. Only
`level_rate_test` needs the model, so it is not in `tests_for`.
"""

from collections.abc import Callable

from churnops.data.profile import ColumnProfile
from churnops.monitoring.drift.chi_square import chi_square_test
from churnops.monitoring.drift.finding import MIN_ROWS, Finding
from churnops.monitoring.drift.ks import ks_statistic, ks_test
from churnops.monitoring.drift.level_rates import level_rate_test
from churnops.monitoring.drift.missing import missing_rate_test
from churnops.monitoring.drift.rarity import MANY_CHOICES, rarity_test
from churnops.monitoring.drift.scores import SLACK, model_slack, score_test
from churnops.monitoring.drift.unseen import unseen_category_test
from churnops.schema import Column

Test = Callable[[ColumnProfile, ColumnProfile], Finding]


def tests_for(column: Column) -> tuple[Test, ...]:
    """Return the tests of an input; the test of its distribution is the first.

    A date has none, because the dates of later customers are later. It is tested for missing values only.

    Examples
    --------
    >>> [test.__name__ for test in tests_for(Column(name="minutes", kind="number"))]
    ['ks_test', 'missing_rate_test']
    >>> [test.__name__ for test in tests_for(Column(name="plan", kind="category", choices=("a", "b"), required=False))]
    ['chi_square_test', 'unseen_category_test']
    """
    tests: tuple[Test, ...] = () if column.kind == "date" else (ks_test if column.numeric else chi_square_test,)
    if column.kind == "category":
        tests += (unseen_category_test,)
        tests += (rarity_test,) if len(column.choices) > MANY_CHOICES else ()
    if column.required:  # an optional column may be missing
        tests += (missing_rate_test,)
    return tests


__all__ = [
    "MANY_CHOICES",
    "MIN_ROWS",
    "SLACK",
    "Finding",
    "Test",
    "chi_square_test",
    "ks_statistic",
    "ks_test",
    "level_rate_test",
    "missing_rate_test",
    "model_slack",
    "rarity_test",
    "score_test",
    "tests_for",
    "unseen_category_test",
]
