"""Make a table of another trade, subscriptions to films: `python -m scripts.subscriptions subscriptions.csv`.

A row is a subscriber at the beginning of a month, with the outcome of that month: about 5 % cancel. The table has
dates, 3,000 cities, and blanks for missing values. Months after the first have a new plan and a few new cities.
`--labels FILE` writes the outcomes to a file of their own, in the form of the API. `--drifted` makes subscribers
who pay more, use the service less and need more support.

The table shows a project that is not telecom, in the tutorial and in a test. It needs nothing of churnops.
"""

import argparse
from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

FIRST_MONTH: Final = date(2026, 1, 1)
PLANS: Final = ("basic", "standard", "premium", "annual")
PRICES: Final = (5.99, 9.99, 14.99, 7.49)
METHODS: Final = ("card", "direct debit", "paypal", "invoice")
CITIES: Final = 3_000
NEW_PLAN: Final = "student"
NEW_SHARE: Final = 0.01
"""Share of the subscribers of a later month who have the new plan, and of those who live in a new city."""
_BEGINNINGS: Final = [a + b for a in ("Al", "Bre", "Cor", "Dun", "Es", "Fal", "Gre", "Har") for b in "bdklmnrst"]
_ENDINGS: Final = [
    a + b for a in ("a", "e", "i", "o", "u", "ing", "er") for b in ("by", "dorf", "ford", "ham", "ton", "ville")
]


def cities(number: int) -> NDArray[np.str_]:
    """Return names of cities, at most 3,024, in an order that does not depend on their number."""
    names = np.array([beginning + ending for ending in _ENDINGS for beginning in _BEGINNINGS])
    return np.random.default_rng(0).permutation(names)[:number]


def subscribers(
    rows: int, seed: int = 0, month: date = FIRST_MONTH, levels: int = CITIES, drifted: bool = False
) -> pl.DataFrame:
    """Return the subscribers at the beginning of a month, with the outcome `cancelled`.

    Parameters
    ----------
    levels
        Number of cities, 1 to 3,000.
    drifted
        Whether prices, usage, support tickets and ways to pay are those of a bad year.
    """
    rng = np.random.default_rng([seed, month.toordinal()])
    frequency = 1.0 / np.arange(3, levels + 3)
    city = rng.choice(levels, rows, p=frequency / frequency.sum())
    by_city = np.random.default_rng(1).normal(0.0, 0.7, CITIES)
    plan = rng.choice(4, rows, p=(0.35, 0.35, 0.2, 0.1))
    method = rng.choice(4, rows, p=(0.2, 0.2, 0.2, 0.4) if drifted else (0.5, 0.25, 0.15, 0.1))
    tenure = np.minimum(rng.gamma(1.5, 400.0, rows), 3_000).astype(int) + 1
    unpaid = np.minimum(rng.integers(0, np.array([31, 31, 92, 366])[plan]) + rng.geometric(0.1, rows), tenure)
    sessions = rng.poisson(rng.gamma(2.0, 3.0 if drifted else 6.0, rows))
    minutes = (sessions * rng.gamma(4.0, 11.0, rows)).round(1)
    tickets = rng.poisson(1.2 if drifted else 0.5, rows)
    renews = rng.random(rows) < 0.7
    price = np.array(PRICES)[plan] * np.where(rng.random(rows) < 0.3, 0.8, 1.0) * (1.25 if drifted else 1.0)
    risk = (
        -4.3
        + by_city[city]
        + 0.9 * np.minimum(tickets, 4)
        + 1.3 * (sessions < 4)
        + 1.5 * ((plan == 2) & (sessions < 8))
        + 0.01 * np.minimum(unpaid, 150)
        - 1.0 * renews
        + 0.6 * (method == 3)
        + 0.5 * (tenure < 180)
    )
    cancelled = rng.random(rows) < 1.0 / (1.0 + np.exp(-risk))
    names, plans = cities(levels)[city].astype(object), np.array(PLANS, dtype=object)[plan]
    if month > FIRST_MONTH:
        names[rng.random(rows) < NEW_SHARE] += " North"
        plans[rng.random(rows) < NEW_SHARE] = NEW_PLAN
    return pl.DataFrame(
        {
            "customer_id": [f"{month:%y%m}-{number:06d}" for number in rng.permutation(rows)],
            "signup_date": _before(month, tenure),
            "last_payment_date": _missing(_before(month, unpaid), rng.random(rows) < 0.06),
            "city": names.tolist(),
            "plan": plans.tolist(),
            "payment_method": np.array(METHODS)[method],
            "monthly_price": price.round(2),
            "auto_renew": np.where(renews, "yes", "no"),
            "sessions_30d": _missing(pl.Series(sessions), rng.random(rows) < 0.08),
            "minutes_watched": _missing(pl.Series(minutes), rng.random(rows) < 0.08),
            "support_tickets": tickets,
            "cancelled": np.where(cancelled, "yes", "no"),
        }
    )


def _before(month: date, days: NDArray[Any]) -> pl.Series:
    return pl.select(pl.lit(month) - pl.duration(days=pl.Series(days))).to_series()


def _missing(values: pl.Series, where: NDArray[np.bool_]) -> pl.Series:
    return values.set(pl.Series(where), None)


def main() -> None:
    """Write the files of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="CSV of subscribers")
    parser.add_argument("--rows", type=int, default=8_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cities", type=int, default=CITIES, help="1 to 3000")
    parser.add_argument("--from-month", default=f"{FIRST_MONTH:%Y-%m}", metavar="YYYY-MM", help="default: 2026-01")
    parser.add_argument("--labels", type=Path, metavar="FILE", help="JSON of ids and outcomes, for POST /labels")
    parser.add_argument("--drifted", action="store_true", help="a bad year: higher prices, less usage, more tickets")
    given = parser.parse_args()
    month = date.fromisoformat(f"{given.from_month}-01")
    table = subscribers(given.rows, given.seed, month, given.cities, given.drifted)
    if given.labels:
        table.select("customer_id", churned=pl.col("cancelled") == "yes").write_json(given.labels)
        table = table.drop("cancelled")
    table.write_csv(given.file)


if __name__ == "__main__":
    main()
