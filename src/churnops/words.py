"""Names, labels and units for people."""

import re
import unicodedata
from typing import Protocol

MAX_LENGTH = 300
"""Default number of characters that `one_line` keeps."""


class Labelled(Protocol):
    """A column or feature: its name, and the label and unit that people read; both may be empty."""

    @property
    def name(self) -> str:
        """Name in snake_case."""

    @property
    def label(self) -> str:
        """Label for people, or empty."""

    @property
    def unit(self) -> str:
        """Unit of its numbers, or empty."""


_PROPER = re.compile(r"\S*?\w(?:[._/\\]|://)\w|\S*-[0-9a-f]{12}\b|churnops\b")


def capital(text: str) -> str:
    """Return a text with a capital first letter; the other letters stay as they are.

    A first word that is the name of a file, setting, column or model version, or an address, stays as it is.

    >>> capital("log loss"), capital("ROC-AUC"), capital(""), capital("row 7: it is wrong")
    ('Log loss', 'ROC-AUC', '', 'Row 7: it is wrong')
    >>> capital("customers.csv is empty"), capital("total_day_calls is missing"), capital("xgboost-dcf010f86dc4 failed")
    ('customers.csv is empty', 'total_day_calls is missing', 'xgboost-dcf010f86dc4 failed')
    """
    return text if _PROPER.match(text) else text[:1].upper() + text[1:]


def words(name: str) -> str:
    """Return the name of a column or feature as words.

    >>> words("total_day_minutes"), words("plan=gold")
    ('Total day minutes', 'Plan: gold')
    """
    text, is_choice, choice = name.partition("=")
    text = capital(text.replace("_", " ").strip())
    return f"{text}: {choice}" if is_choice else text


def title(item: Labelled) -> str:
    """Return the label of a column or feature, or its name as words if there is none."""
    return item.label or words(item.name)


def heading(title: str, unit: str) -> str:
    """Return a title with the unit of the numbers below it.

    >>> heading("Day calls", "min"), heading("Tariff", "")
    ('Day calls (min)', 'Tariff')
    """
    return f"{title} ({unit})" if unit else title


def with_unit(value: str, unit: str) -> str:
    """Return a value with its unit.

    >>> with_unit("265.1", "min"), with_unit("265.1", "")
    ('265.1 min', '265.1')
    """
    return f"{value} {unit}" if unit else value


def percent(share: float) -> str:
    """Return a share in percent; a share close to 0 or 1 is not rounded to 0 or 100 %.

    Examples
    --------
    >>> percent(0.1234), percent(0.0004), percent(0.9996), percent(0.0), percent(0.5)
    ('12.3 %', 'less than 0.1 %', 'more than 99.9 %', '0 %', '50 %')
    """
    if 0.0 < share < 0.001:
        return "less than 0.1 %"
    if 0.999 < share < 1.0:
        return "more than 99.9 %"
    return f"{share * 100:.1f}".removesuffix(".0") + " %"


def one_line(text: object, limit: int = MAX_LENGTH) -> str:
    r"""Return text from outside as one printable line, for widgets that do not read markup.

    Control characters (line breaks, NUL, marks of reading direction) are replaced by blanks.

    Examples
    --------
    >>> one_line("a\x00b\u202ec")
    'a b c'
    """
    given = str(text)[: limit * 4]  # normalising a huge text would be slow
    if not given.isprintable():
        control = ("Cc", "Cf", "Cs", "Zl", "Zp", "Co", "Cn")
        given = "".join(" " if unicodedata.category(c) in control else c for c in given)
    shown = " ".join(given.split())
    return shown if len(shown) <= limit and len(str(text)) <= limit * 4 else shown[: limit - 1] + "…"


def number(value: float) -> str:
    """Return a number as text: whole numbers in full, others from 100 up with one decimal, smaller ones with 3 digits.

    Examples
    --------
    >>> number(265.10000001), number(3.0), number(1234567.0), number(0.01234), number(-0.0)
    ('265.1', '3', '1,234,567', '0.0123', '0')
    """
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    if abs(value) >= 100:
        return f"{value:,.1f}".removesuffix(".0")
    return f"{value:.3g}"


def customers_text(share: float) -> str:
    """Return the customers of an experiment in words.

    >>> customers_text(1.0), customers_text(0.25)
    ('all customers', '25 % of the customers')
    """
    return "all customers" if share == 1.0 else f"{100 * share:.3g} % of the customers"
