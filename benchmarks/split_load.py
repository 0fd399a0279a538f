"""Price of a split: requests a second and the 99th percentile of `POST /predict`, with and without one.

`SPLIT_ROUNDS` changes the number of rounds.
"""

import os
import statistics

from benchmarks.experiment_load import FOLLOW_SECONDS, SECONDS, load_in_turns
from benchmarks.harness import Claim, Result
from benchmarks.serving import CONNECTIONS

ROUNDS = int(os.environ.get("SPLIT_ROUNDS", 10))
SHARE = 0.2
PORT = 8121


def measure() -> Result:
    """Load one service in turns, with and without a split, and compare medians."""
    rates, tails = load_in_turns("split", SHARE, ROUNDS, PORT)
    return Result(
        title="Split: load",
        about=(
            f"`POST /predict` as under Serving, with a split of share {SHARE:g} on and off in turns: {SECONDS} s a "
            f"round, {FOLLOW_SECONDS:g} s after each start or stop, {ROUNDS} rounds, median of the rounds' ratios. The "
            "challenger is as large as the deployed model."
        ),
        claims=[
            Claim("requests/s with a split, share of those without", rates.ratio, "", 0.95, at_least=True),
            Claim(f"p99 with a split, {CONNECTIONS} connections, multiple", tails.ratio, "", 1.1),
            Claim("requests/s with a split", statistics.median(rates.on), "/s"),
            Claim("requests/s without", statistics.median(rates.off), "/s"),
        ],
    )
