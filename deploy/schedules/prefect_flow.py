"""Score the customers of each week, and check them: a Prefect flow that calls churnops."""

import subprocess

from prefect import flow, task

SCORED = "data/weekly/scored.parquet"


@task(retries=2, retry_delay_seconds=60)
def churnops(*arguments: str) -> None:
    """Run a command; any exit code but 0 fails the task."""
    subprocess.run(["churnops", *arguments], cwd="/srv/churn", check=True)


@flow
def weekly() -> None:
    """Score, then check."""
    churnops("predict", "--force", "data/customers.parquet", SCORED)
    churnops("monitor", "--batch", SCORED)


if __name__ == "__main__":
    weekly.serve(cron="0 6 * * 1")
