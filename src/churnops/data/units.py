"""Units beside numbers in texts, such as € and %: they are recognized here, and removed by `data.cell_text`."""

import polars as pl

_WORDS = (
    *("US\\$", "C\\$", "A\\$", "R\\$", "Rs\\.?", "kr\\.?", "zł", "Kč", "Ft", "Fr\\."),
    *("USD", "EUR", "GBP", "JPY", "CHF", "CAD", "AUD", "NZD", "CNY", "INR", "BRL", "MXN", "ZAR", "SEK", "NOK", "DKK"),
    *("PLN", "CZK", "HUF", "RON", "TRY", "RUB", "UAH", "ILS", "AED", "SAR", "SGD", "HKD", "KRW", "THB", "IDR", "PHP"),
)
UNIT = rf"\p{{Sc}}|%|{'|'.join(_WORDS)}"
"""Regular expression of the units that are recognized: signs and codes of currencies, and percent."""
_BEFORE = rf"^\s*[+(-]?\s*({UNIT})\s*[+-]?[\d.,]"
_AFTER = rf"[\d.,]-?\s*({UNIT})\)?\s*$"


def units_of(texts: pl.Series) -> pl.Series:
    """Return the unit before or after each number; null for other texts.

    >>> units_of(pl.Series(["$1,234.50", "-5 €", "15%", "12", "12 months", "€"])).to_list()
    ['$', '€', '%', None, None, None]
    """
    return texts.str.extract(_BEFORE).fill_null(texts.str.extract(_AFTER))
