"""Errors of MLflow, and of its answers, as one line."""

from collections.abc import Iterator
from contextlib import contextmanager

from churnops.errors import ChurnopsError, first_line

UNREADABLE = (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError)
"""Errors that an unreadable answer causes, such as one with an impossible date."""


@contextmanager
def answering(store: str, error_type: type[ChurnopsError] = ChurnopsError) -> Iterator[None]:
    """Turn the errors of a block that asks MLflow into one line, but an interruption into KeyboardInterrupt.

    Parameters
    ----------
    store
        Subject of the message, such as "the model registry".

    Examples
    --------
    >>> with answering("the model registry"):
    ...     int("1.x")
    Traceback (most recent call last):
    churnops.errors.ChurnopsError: the answer of the model registry cannot be read: invalid literal for int() ...
    """
    import mlflow

    try:
        yield
    except mlflow.MlflowException as error:
        if interrupted(error):
            raise KeyboardInterrupt from error
        raise error_type(f"{store} does not answer: {first_line(error)}") from error
    except UNREADABLE as error:
        raise error_type(f"the answer of {store} cannot be read: {first_line(error)}") from error


def interrupted(error: BaseException | None) -> bool:
    """Return whether an interruption caused an error, such as Ctrl-C during a call of the store."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None
