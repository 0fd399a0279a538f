"""Price of a shadow: requests a second and the 99th percentile of `POST /predict`, with and without one."""

import statistics

from benchmarks.experiment_load import FOLLOW_SECONDS, SECONDS, load_in_turns
from benchmarks.harness import Claim, Result
from benchmarks.serving import CONNECTIONS
from churnops.project import Project

ROUNDS = 10
PORT = 8120


def measure() -> Result:
    """Load one service in turns, with and without a shadow of all customers, and compare medians."""
    scored = 0

    def count(project: Project) -> None:
        nonlocal scored
        scored = sum(project.shadow_scores.count(shadow.id) for shadow in project.experiments.newest(ROUNDS))

    rates, tails = load_in_turns("shadow", 1.0, ROUNDS, PORT, at_end=count)
    return Result(
        title="Shadow: load",
        about=(
            "`POST /predict` as under Serving, with a shadow of all customers on and off in turns: "
            f"{SECONDS} s a round, {FOLLOW_SECONDS:g} s after each start or stop, {ROUNDS} rounds, median of the "
            "rounds' ratios. The challenger is as large as the deployed random forest, and service and challenger have "
            "the same core."
        ),
        claims=[
            Claim("requests/s with a shadow, share of those without", rates.ratio, "", 0.85, at_least=True),
            Claim(f"p99 with a shadow, {CONNECTIONS} connections, multiple of that without", tails.ratio, "", 1.3),
            Claim("answered customers that the challenger scored", 100 * scored / (SECONDS * sum(rates.on)), "%"),
            Claim("requests/s with a shadow", statistics.median(rates.on), "/s"),
            Claim("requests/s without", statistics.median(rates.off), "/s"),
            Claim("p99 with a shadow", statistics.median(tails.on), "ms"),
            Claim("p99 without", statistics.median(tails.off), "ms"),
        ],
    )
