"""Panels of the dashboard *drift*: recent customers, and those of the monitoring cycles, against the training data."""

from scripts.grafana.model import Dashboard, Panel

DRIFT = Dashboard(
    "drift",
    "Drift of recent customers (live) and in the monitoring cycles from the training data.",
    [
        Panel(
            "Columns that drifted, live",
            "Share of the columns, over the last monitoring.window_days. Alert: ChurnopsLiveDrift, on 500 customers or "
            "more.",
            {"drifted": "max(churnops_live_drift_rate{$selected})"},
            "percentunit",
            limit=0.3,
            kind="stat",
            width=5,
        ),
        Panel(
            "Scores drifted, live",
            "Unknown: too few customers. Alert: ChurnopsLiveScoreDrift, on 500 customers or more.",
            {"drifted": "max(churnops_live_score_drifted{$selected})"},
            "bool_yes_no",
            limit=1,
            kind="stat",
            width=5,
        ),
        Panel(
            "Customers in the window",
            "Customers that the deployed model has answered, over all instances.",
            {"customers": "max(churnops_live_rows{$selected})"},
            kind="stat",
            width=5,
        ),
        Panel(
            "Age of live drift",
            "Time since the workers' counts were last combined. Alert: ChurnopsLiveStale.",
            {"age": "time() - max(churnops_live_updated_timestamp_seconds{$selected} > 0)"},
            "s",
            limit=300,
            kind="stat",
            width=5,
        ),
        Panel(
            "Customers not counted",
            "Customers of the last hour that were answered, but are not in live drift.",
            {"not counted": "sum(increase(churnops_live_dropped_total{$selected}[1h]))"},
            limit=1,
            kind="stat",
            width=4,
        ),
        Panel(
            "Columns that drifted: live and in cycles",
            "Share of the columns: recent customers, the newest cycle of live traffic, and of each other source.",
            {
                "live": "max(churnops_live_drift_rate{$selected})",
                "newest cycle": "max(churnops_monitoring_drift_rate{$selected})",
                "{{source}}": "max by (source) (churnops_monitoring_source_drift_rate{$selected})",
            },
            "percentunit",
            limit=0.3,
            width=12,
        ),
        Panel(
            "Distance of the scores, live",
            "KS distance from the scores of the training data, with scores within 0.6 log-odds counted as equal.",
            {"scores": "max(churnops_live_score_distance{$selected})"},
            width=12,
        ),
        Panel(
            "Distance of a column, live",
            "The ten largest: KS distance of a number, population stability index of a category.",
            {"{{column}}": "topk(10, max by (column) (churnops_live_column_distance{$selected}))"},
            width=12,
        ),
        Panel(
            "Missing values, live",
            "Share of null among the values sent; the ten columns with the largest.",
            {"{{column}}": "topk(10, max by (column) (churnops_live_missing_rate{$selected}))"},
            "percentunit",
            width=12,
        ),
        Panel(
            "Drifted columns, live",
            "Yes: significant after correction, and large.",
            {"{{column}}": "max by (column) (churnops_live_column_drifted{$selected})"},
            "bool_yes_no",
            limit=1,
            kind="state-timeline",
            width=12,
        ),
        Panel(
            "Drifted columns, newest cycle",
            "Yes: significant after correction, and large.",
            {"{{column}}": "max by (column) (churnops_monitoring_column_drifted{$selected})"},
            "bool_yes_no",
            limit=1,
            kind="state-timeline",
            width=12,
        ),
        Panel(
            "Size of a column's drift, newest cycle",
            "The ten largest effects.",
            {"{{column}}": "topk(10, max by (column) (churnops_monitoring_column_effect{$selected}))"},
        ),
        Panel(
            "Drift of scores and outcomes, newest cycle",
            "Sizes of the differences of all scores and of the churn rate from the training data.",
            {"{{drift}}": "max by (drift) (churnops_monitoring_effect{$selected})"},
        ),
        Panel(
            "New levels, by column",
            'Customers a second with a level that the model does not have. They are scored as "other".',
            {"{{column}}": "sum by (column) (rate(churnops_unknown_levels_total{$selected}[$__rate_interval]))"},
            "cps",
        ),
    ],
)
