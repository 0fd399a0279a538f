"""Texts from outside made safe for Streamlit's Markdown, and numbers as people write them."""

import re
import unicodedata

from churnops.dates import day_text
from churnops.words import with_unit

MAX_LENGTH = 300
# Characters of Markdown, Streamlit's directives (:red[...], :material/...:), formulas and HTML.
_SPECIAL = re.compile(r"[\\`*_{}\[\]()<>#+\-.!|$~:&=@/^\"']")
# Streamlit makes links, pictures and arrows of these, even if they are escaped. An invisible character prevents this.
_JOINED = re.compile(r"(?<=:)(?=\S)|(?<=@)|(?<=www)(?=\.)|(?<=[-<>~])(?=[-=>])", re.IGNORECASE)
_JOINER = "\u2060"


def plain(text: object, limit: int = MAX_LENGTH) -> str:
    r"""Escape text from outside for Markdown: one line, without markup or links.

    Parameters
    ----------
    limit
        Number of characters to keep; an ellipsis marks the cut.

    Examples
    --------
    >>> plain("<img src=x> **KS**")
    '\\<img src\\=x\\> \\*\\*KS\\*\\*'
    >>> plain("two\nlines", limit=6)
    'two l…'
    """
    return _SPECIAL.sub(r"\\\g<0>", _JOINED.sub(_JOINER, one_line(text, limit)))


def one_line(text: object, limit: int = MAX_LENGTH) -> str:
    r"""Return text from outside as one printable line, for widgets that do not read markup.

    Control characters (line breaks, NUL, marks of reading direction) are replaced by blanks.

    Examples
    --------
    >>> one_line("a\x00b\u202ec")
    'a b c'
    """
    given = str(text)[: limit * 4]  # normalising a huge text would be slow
    shown = "".join(" " if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp", "Co", "Cn") else c for c in given)
    shown = " ".join(shown.split())
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


def quantity(value: float, unit: str = "", *, is_date: bool = False) -> str:
    """Return a value of a column as text: a number with its unit, or a date.

    Examples
    --------
    >>> quantity(265.1, "min"), quantity(19787.0, is_date=True)
    ('265.1 min', '2024-03-05')
    """
    return day_text(value) if is_date else with_unit(number(value), unit)


def points(share: float) -> str:
    """Return a difference of two shares in percentage points.

    Examples
    --------
    >>> points(0.014), points(-0.01), points(0.0001)
    ('1.4 points', '1 point', 'less than 0.1 points')
    """
    size = f"{abs(share) * 100:.1f}".removesuffix(".0")
    return "less than 0.1 points" if size == "0" and share else f"{size} point{'' if size == '1' else 's'}"
