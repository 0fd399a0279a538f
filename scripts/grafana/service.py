"""Panels of the dashboard *service*: requests, errors, latencies, load and the journal."""

from scripts.grafana.model import Dashboard, Panel

REQUESTS = "rate(churnops_http_request_seconds_count{$selected}[$__rate_interval])"
FAILED = 'rate(churnops_http_request_seconds_count{$selected, status=~"5.."}[$__rate_interval])'
PREDICT = 'rate(churnops_http_request_seconds_bucket{$selected, route="/predict"}[$__rate_interval])'
BUCKETS = "rate(churnops_http_request_seconds_bucket{$selected}[$__rate_interval])"
PREDICTIONS = "rate(churnops_predictions_total{$selected}[$__rate_interval])"
CHURNERS = 'rate(churnops_predictions_total{$selected, churn="true"}[$__rate_interval])'
LIMITED = 'rate(churnops_http_request_seconds_count{$selected, status="429"}[$__rate_interval])'

SERVICE = Dashboard(
    "service",
    "Requests, errors, latencies, load and the journal of the API.",
    [
        Panel(
            "Instances that answer",
            "Instances that Prometheus can read. Alert: ChurnopsDown.",
            {"answer": "sum(up{$selected})", "known": "count(up{$selected})"},
            kind="stat",
            width=6,
        ),
        Panel(
            "Newest deployment refused",
            "Yes: an instance keeps the earlier model. Alert: ChurnopsModelRefused.",
            {"refused": "max(churnops_model_refused{$selected})"},
            "bool_yes_no",
            limit=1,
            kind="stat",
            width=6,
        ),
        Panel(
            "Predictions not recorded",
            "Predictions of the last hour that are not in the journal. Alert: ChurnopsJournalFailures.",
            {"not recorded": "sum(increase(churnops_journal_failures_total{$selected}[1h]))"},
            limit=1,
            kind="stat",
            width=6,
        ),
        Panel(
            "Alerts not delivered",
            "Alerts of the last 24 hours that a channel did not get. Alert: ChurnopsAlertsUndelivered.",
            {"not delivered": "max(churnops_alerts_undelivered{$selected})"},
            limit=1,
            kind="stat",
            width=6,
        ),
        Panel(
            "Alerts of Prometheus",
            "Pending and firing alerts. docs/on-call.md has a section for each.",
            {"": 'ALERTS{alertname=~"Churnops.+", job=~"$job"}'},
            kind="table",
        ),
        Panel(
            "Requests a second, by path",
            "All answers, refusals and errors included.",
            {"{{route}}": f"sum by (route) ({REQUESTS})"},
            "reqps",
        ),
        Panel(
            "Failed requests",
            "Share of the requests with a status of 500 or above. Alert: ChurnopsErrors.",
            {"failed": f"(sum({FAILED}) or vector(0)) / sum({REQUESTS})"},
            "percentunit",
            limit=0.01,
        ),
        Panel(
            "Latency of /predict",
            "Seconds from a request's head to its answer's end, by quantile. Alert: ChurnopsSlow, on the 99 %.",
            {
                f"{percent} %": f"histogram_quantile({percent / 100}, sum by (le) ({PREDICT}))"
                for percent in (50, 95, 99)
            },
            "s",
            limit=0.25,
        ),
        Panel(
            "Latency by path, 99 %",
            "The slowest 1 % of the requests take this long or longer. Uploads may take minutes.",
            {"{{route}}": f"histogram_quantile(0.99, sum by (route, le) ({BUCKETS}))"},
            "s",
        ),
        Panel(
            "Requests a second, by status",
            "422: the request breaks the Schema. 429: an API key is above its rate limit. 503: busy, no model, or no "
            "journal.",
            {"{{status}}": f"sum by (status) ({REQUESTS})"},
            "reqps",
        ),
        Panel(
            "Requests above the rate limit",
            "Share of the requests that were refused with 429 (setting api.rate_limit).",
            {"refused": f"(sum({LIMITED}) or vector(0)) / sum({REQUESTS})"},
            "percentunit",
        ),
        Panel(
            "CPU of a worker",
            "CPU seconds of a worker in a second. Near 1, answers wait: add workers or machines.",
            {
                "{{instance}}": "sum by (instance) (rate(churnops_cpu_seconds_total{$selected}[$__rate_interval]))"
                " / sum by (instance) (churnops_workers{$selected})"
            },
            limit=0.9,
        ),
        Panel(
            "Predictions that wait for the journal",
            "Predictions without a commit. A growing number means a slow disk or database.",
            {"{{instance}}": "sum by (instance) (churnops_journal_waiting{$selected})"},
        ),
        Panel(
            "Customers answered a second, by model",
            "A change of the model is a deployment or a rollback.",
            {"{{model_version}}": f"sum by (model_version) ({PREDICTIONS})"},
            "cps",
        ),
        Panel(
            "Customers predicted to churn",
            "Share of the answered customers.",
            {"churn": f"(sum({CHURNERS}) or vector(0)) / sum({PREDICTIONS})"},
            "percentunit",
        ),
        Panel(
            "Outcomes recorded a second",
            "Outcomes sent to /labels. Those for a customer without a prediction say nothing about the model.",
            {
                "recorded": "sum(rate(churnops_labels_total{$selected}[$__rate_interval]))",
                "without a prediction": "sum(rate(churnops_labels_unmatched_total{$selected}[$__rate_interval]))",
            },
            "cps",
        ),
    ],
)
