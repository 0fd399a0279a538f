"""Texts from outside made safe for Streamlit's Markdown, and numbers as people write them."""

import re

from churnops.features.shown import quantity
from churnops.words import MAX_LENGTH, number, one_line

__all__ = ["MAX_LENGTH", "number", "one_line", "plain", "points", "quantity"]

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


def points(share: float) -> str:
    """Return a difference of two shares in percentage points.

    Examples
    --------
    >>> points(0.014), points(-0.01), points(0.0001)
    ('1.4 points', '1 point', 'less than 0.1 points')
    """
    size = f"{abs(share) * 100:.1f}".removesuffix(".0")
    return "less than 0.1 points" if size == "0" and share else f"{size} point{'' if size == '1' else 's'}"
