"""Spellings of a choice: case, blanks around it, and the form of a number do not count."""

import re
from collections import Counter
from collections.abc import Iterable

YES_NO = (("no", "yes"), ("n", "y"), ("false", "true"), ("f", "t"), ("0", "1"), ("off", "on"))
"""Words of a flag, in plain spelling: false, true."""
_NUMBER = re.compile(r"[+-]?(?:0|[1-9][0-9]{0,14})(?:\.0*)?")


def plain(text: str) -> str:
    """Return the plain spelling of a text. Numbers that begin with 0 are codes, and stay as they are.

    >>> plain(" Two Year "), plain("3.0"), plain("007"), plain("+3")
    ('two year', '3', '007', '3')
    """
    text = " ".join(text.split()).casefold()
    return str(int(text.partition(".")[0])) if _NUMBER.fullmatch(text) else text


def spellings(choices: Iterable[str], *, is_flag: bool) -> dict[str, str]:
    """Return the choice of each plain spelling, without spellings that two choices share.

    Parameters
    ----------
    is_flag
        Whether the choices are (false, true). If they are words for no and yes, all such words are spellings.

    Examples
    --------
    >>> spellings(["DSL", "Fiber", "fiber"], is_flag=False)
    {'dsl': 'DSL'}
    >>> spellings(["No", "Yes"], is_flag=True)["true"]
    'Yes'
    """
    given = list(choices)
    count = Counter(map(plain, given))
    known = {plain(choice): choice for choice in given if count[plain(choice)] == 1}
    if is_flag and tuple(known) in YES_NO:
        known |= {word: choice for pair in YES_NO for word, choice in zip(pair, given, strict=True)}
    return known
