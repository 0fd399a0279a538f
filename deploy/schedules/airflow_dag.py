"""Score the customers of each week, and check them: an Airflow DAG that calls churnops."""

from datetime import UTC, datetime

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

SCORED = "data/weekly/{{ ds }}.parquet"

with DAG("churnops", schedule="0 6 * * 1", start_date=datetime(2026, 1, 5, tzinfo=UTC), catchup=False):
    options = {"cwd": "/srv/churn", "append_env": True, "retries": 2}
    predict = BashOperator(
        task_id="predict", bash_command=f"churnops predict --force data/customers.parquet {SCORED}", **options
    )
    monitor = BashOperator(task_id="monitor", bash_command=f"churnops monitor --batch {SCORED}", **options)
    predict >> monitor
