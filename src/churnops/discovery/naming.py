"""Names of columns, from headers."""

import re
import unicodedata
from collections.abc import Iterable
from keyword import iskeyword

from churnops.schema import RESERVED, is_marked

WORDS_OF_EXPRESSIONS = ("min", "max", "abs", "true", "false", "null", "yes", "no", "on", "off", "y", "n")
"""Names that YAML or an expression would read as something else."""


def snake_case(header: str) -> str:
    """Return a header as a snake_case name; empty if it has no letter or digit of ASCII.

    >>> snake_case(" Total Day-Minutes (€)"), snake_case("customerID"), snake_case("2nd plan")
    ('total_day_minutes', 'customer_id', 'n2nd_plan')
    """
    plain = unicodedata.normalize("NFKD", header.replace("ß", "ss")).encode("ascii", "ignore").decode()
    plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", plain)
    name = re.sub(r"[^a-z0-9]+", "_", plain.lower()).strip("_")
    return f"n{name}"[:64] if name[:1].isdigit() else name[:64]


def names_of(headers: Iterable[str]) -> dict[str, str]:
    """Return a snake_case name for each header that is no other header and no other's name.

    >>> names_of(["Plan", "Plan ", "€", "Monthly Fee", "monthly_fee"])
    {'Plan': 'plan', 'Plan ': 'plan_2', '€': 'column_3', 'Monthly Fee': 'monthly_fee_2', 'monthly_fee': 'monthly_fee'}
    """
    headers = list(headers)
    names: dict[str, str] = {}
    taken, others = set(RESERVED), set(headers)
    for number, header in enumerate(headers, start=1):
        base = snake_case(header)
        if iskeyword(base) or base in WORDS_OF_EXPRESSIONS:
            base = f"{base}_column"
        if not base or is_marked([base]):
            base = f"column_{number}"
        name, copy = base, 2
        while name in taken or (name in others and name != header):
            name, copy = f"{base[:58]}_{copy}", copy + 1
        names[header] = name
        taken.add(name)
    return names
