"""Panels of the dashboard *replicas*: the instances of one job beside each other."""

from scripts.grafana.model import Dashboard, Panel

REQUESTS = "rate(churnops_http_request_seconds_count{$selected}[$__rate_interval])"
FAILED = 'rate(churnops_http_request_seconds_count{$selected, status=~"5.."}[$__rate_interval])'
REFUSED = 'rate(churnops_http_request_seconds_count{$selected, status=~"429|503"}[$__rate_interval])'
PREDICT = 'rate(churnops_http_request_seconds_bucket{$selected, route="/predict"}[$__rate_interval])'
PREDICTIONS = "rate(churnops_predictions_total{$selected}[$__rate_interval])"

REPLICAS = Dashboard(
    "replicas",
    "The instances of the API beside each other: models, requests, load and live drift.",
    [
        Panel(
            "Down",
            "Yes: Prometheus cannot read the instance. Alert: ChurnopsDown.",
            {"{{instance}}": "1 - up{$selected}"},
            "bool_yes_no",
            limit=1,
            kind="state-timeline",
        ),
        Panel(
            "Deployed model",
            "The model that each instance answers with. `churnops deployments status` explains differences.",
            {"": "churnops_model_info{$selected} == 1"},
            kind="table",
        ),
        Panel(
            "Newest deployment refused",
            "Yes: the instance keeps the earlier model. Alert: ChurnopsModelRefused.",
            {"{{instance}}": "max by (instance) (churnops_model_refused{$selected})"},
            "bool_yes_no",
            limit=1,
            kind="state-timeline",
        ),
        Panel(
            "Customers answered a second, by model",
            "During a deployment, instances change one after the other.",
            {"{{instance}} {{model_version}}": f"sum by (instance, model_version) ({PREDICTIONS})"},
            "cps",
        ),
        Panel(
            "Requests a second",
            "An instance without requests may be out of the proxy's list.",
            {"{{instance}}": f"sum by (instance) ({REQUESTS})"},
            "reqps",
        ),
        Panel(
            "Latency of /predict, 99 %",
            "The slowest 1 % of the requests take this long or longer.",
            {"{{instance}}": f"histogram_quantile(0.99, sum by (instance, le) ({PREDICT}))"},
            "s",
            limit=0.25,
        ),
        Panel(
            "Failed requests",
            "Share of the requests with a status of 500 or above.",
            {
                "{{instance}}": f"(sum by (instance) ({FAILED}) or 0 * sum by (instance) ({REQUESTS}))"
                f" / sum by (instance) ({REQUESTS})"
            },
            "percentunit",
            limit=0.01,
        ),
        Panel(
            "Refused requests a second",
            "429: an API key is above its rate limit, which holds for each worker. 503: busy, no model, or no journal.",
            {"{{instance}}": f"sum by (instance) ({REFUSED}) or 0 * sum by (instance) ({REQUESTS})"},
            "reqps",
        ),
        Panel(
            "CPU of a worker",
            "CPU seconds of a worker in a second. Near 1, answers wait.",
            {
                "{{instance}}": "rate(churnops_cpu_seconds_total{$selected}[$__rate_interval])"
                " / churnops_workers{$selected}"
            },
            limit=0.9,
        ),
        Panel(
            "Workers",
            "Worker processes. A worker that died is replaced within seconds.",
            {"{{instance}}": "churnops_workers{$selected}"},
        ),
        Panel(
            "Memory",
            "Resident memory of the workers.",
            {"{{instance}}": "churnops_memory_bytes{$selected}"},
            "bytes",
        ),
        Panel(
            "Predictions that wait for the journal",
            "Predictions without a commit; up to 20,000 may wait.",
            {"{{instance}}": "churnops_journal_waiting{$selected}"},
        ),
        Panel(
            "Columns that drifted, live",
            "Share of the columns. Instances of one journal show the same share, a few seconds apart.",
            {"{{instance}}": "churnops_live_drift_rate{$selected}"},
            "percentunit",
            limit=0.3,
        ),
        Panel(
            "Customers in the window",
            "Customers in live drift, over all instances of the journal.",
            {"{{instance}}": "churnops_live_rows{$selected}"},
        ),
        Panel(
            "Age of live drift",
            "Time since the last merge of the counts. If all are old, the journal's database does not answer.",
            {"{{instance}}": "time() - (churnops_live_updated_timestamp_seconds{$selected} > 0)"},
            "s",
            limit=300,
        ),
    ],
)
