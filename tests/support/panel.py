"""Monthly snapshots of customers whose outcomes depend on other columns from year to year."""

from datetime import date

import numpy as np
import polars as pl


def panel(customers: int = 500, months: int = 10, seed: int = 3, *, prefix: str = "C") -> pl.DataFrame:
    """Return a row of each customer at the beginning of most months of 2025.

    Customers who use the service little leave at first; in the end, those who use it much do.
    """
    rng = np.random.default_rng(seed)
    rows = customers * months
    month = np.repeat(np.arange(months), customers)
    usage = rng.normal(0.0, 1.0, rows)
    tickets = rng.poisson(1.0, rows)
    direction = np.linspace(-1.5, 1.5, months)[month]
    risk = -1.5 + direction * usage + 0.7 * tickets
    table = pl.DataFrame(
        {
            "customer": [f"{prefix}{number:05}" for number in np.tile(np.arange(customers), months)],
            "month": [date(2025, 1 + int(number), 1) for number in month],
            "usage": usage.round(3),
            "tickets": tickets,
            "plan": np.array(["basic", "gold"])[rng.integers(0, 2, rows)],
            "left": np.where(rng.random(rows) < 1.0 / (1.0 + np.exp(-risk)), "yes", "no"),
        }
    )
    return table.filter(pl.Series(rng.random(rows) < 0.8)).sample(fraction=1.0, shuffle=True, seed=seed)
