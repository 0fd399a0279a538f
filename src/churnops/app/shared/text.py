"""Text from outside, for places where Streamlit reads Markdown; and numbers as people read them."""

import re
import unicodedata

MAX_LENGTH = 300
# What Markdown, Streamlit's directives (:red[...], :material/...:), formulas and HTML are written with.
_SPECIAL = re.compile(r"[\\`*_{}\[\]()<>#+\-.!|$~:&=@/^\"']")
# What is turned into links, pictures and arrows after escapes are undone: a character that is not seen keeps it apart.
_JOINED = re.compile(r"(?<=:)(?=\S)|(?<=@)|(?<=www)(?=\.)|(?<=[-<>~])(?=[-=>])", re.IGNORECASE)
_JOINER = "\u2060"


def plain(text: object, most: int = MAX_LENGTH) -> str:
    r"""Return text from outside as it reads letter by letter where Markdown is expected: one line, no markup, no links.

    Parameters
    ----------
    most
        Characters that are kept; what is cut off is marked with an ellipsis.

    Examples
    --------
    >>> plain("<img src=x> **KS**")
    '\\<img src\\=x\\> \\*\\*KS\\*\\*'
    >>> plain("two\nlines", most=6)
    'two l…'
    """
    return _SPECIAL.sub(r"\\\g<0>", _JOINED.sub(_JOINER, one_line(text, most)))


def one_line(text: object, most: int = MAX_LENGTH) -> str:
    r"""Return text from outside as one printable line, for widgets that show text as it is.

    Characters that steer (line breaks, NUL, marks that turn the reading direction) become blanks.

    Examples
    --------
    >>> one_line("a\x00b\u202ec")
    'a b c'
    """
    given = str(text)[: most * 4]  # normalising a huge text would be slow
    shown = "".join(" " if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp", "Co", "Cn") else c for c in given)
    shown = " ".join(shown.split())
    return shown if len(shown) <= most and len(str(text)) <= most * 4 else shown[: most - 1] + "…"


def percent(share: float) -> str:
    """Return a share in percent as it is spoken; what is not quite nothing or everything does not read like it.

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


def number(value: float) -> str:
    """Return a number with as many digits as one reads.

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
