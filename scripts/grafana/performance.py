"""Panels of the dashboard *performance*: the newest monitoring cycle of the deployed model on known outcomes."""

from scripts.grafana.model import Dashboard, Panel


def interval(metric: str) -> dict[str, str]:
    """Return the queries of a metric with its interval."""
    return {
        legend: f'max(churnops_monitoring_{name}{{$selected, metric="{metric}"}})'
        for legend, name in (("value", "metric"), ("low", "metric_low"), ("high", "metric_high"))
    }


PERFORMANCE = Dashboard(
    "performance",
    "The deployed model on known outcomes, in its newest monitoring cycle, and the cycles themselves.",
    [
        Panel(
            "Age of the newest cycle",
            "Time since a cycle of live traffic finished, on any model. Alert: ChurnopsMonitoringStale.",
            {"age": "time() - max(churnops_monitoring_cycle_timestamp_seconds{$selected} > 0)"},
            "s",
            limit=2 * 86400,
            kind="stat",
            width=6,
        ),
        Panel(
            "Newest cycle failed",
            "Yes: the other panels show an earlier cycle. Alert: ChurnopsMonitoringFailed.",
            {"failed": "max(churnops_monitoring_failed{$selected})"},
            "bool_yes_no",
            limit=1,
            kind="stat",
            width=6,
        ),
        Panel(
            "Retraining recommended",
            "Verdict of the newest cycle. Alert: ChurnopsRetrainingRecommended.",
            {"recommended": "max(churnops_monitoring_recommend_retraining{$selected})"},
            "bool_yes_no",
            limit=1,
            kind="stat",
            width=6,
        ),
        Panel(
            "Known outcomes",
            "Customers with a known outcome. Without them, no metric is known.",
            {"outcomes": "max(churnops_monitoring_labelled{$selected})"},
            kind="stat",
            width=6,
        ),
        Panel(
            "ROC-AUC",
            "With its interval, and the lowest acceptable value. Alert: ChurnopsPerformance.",
            interval("roc_auc") | {"limit": "max(churnops_monitoring_performance_limit{$selected})"},
        ),
        Panel(
            "Calibration error",
            "Mean gap between predicted and observed churn rate, with its interval; lower is better.",
            interval("calibration_error"),
            "percentunit",
        ),
        Panel(
            "Brier score",
            "Mean squared error of the probabilities, with its interval; lower is better.",
            interval("brier"),
        ),
        Panel(
            "All metrics",
            "Values on the customers with a known outcome.",
            {"{{metric}}": "max by (metric) (churnops_monitoring_metric{$selected})"},
        ),
        Panel(
            "Triggers of retraining",
            "Yes: this finding recommends retraining.",
            {"{{trigger}}": "max by (trigger) (churnops_monitoring_trigger{$selected})"},
            "bool_yes_no",
            limit=1,
            kind="state-timeline",
        ),
        Panel(
            "Cautions",
            "Findings with an alert of their own, which recommend no retraining: broken columns, wrong predictions, "
            "unknown levels, training rows.",
            {"{{caution}}": "max by (caution) (churnops_monitoring_caution{$selected})"},
            "bool_yes_no",
            limit=1,
            kind="state-timeline",
        ),
        Panel(
            "Customers and known outcomes",
            "Of the newest cycle.",
            {
                "customers": "max(churnops_monitoring_rows{$selected})",
                "known outcomes": "max(churnops_monitoring_labelled{$selected})",
            },
        ),
        Panel(
            "Known share of the due outcomes",
            "A falling share means that labels arrive late or not at all.",
            {"known": "max(churnops_monitoring_label_coverage{$selected})"},
            "percentunit",
        ),
        Panel(
            "Age of the newest cycle, other sources",
            "Customers scored by file.",
            {"{{source}}": "time() - max by (source) (churnops_monitoring_source_cycle_timestamp_seconds{$selected})"},
            "s",
        ),
        Panel(
            "Failed cycles, other sources",
            "Yes: the source's newest cycle failed.",
            {"{{source}}": "max by (source) (churnops_monitoring_source_failed{$selected})"},
            "bool_yes_no",
            limit=1,
            kind="state-timeline",
            width=12,
        ),
        Panel(
            "Retraining recommended, other sources",
            "Verdict of the source's newest cycle.",
            {"{{source}}": "max by (source) (churnops_monitoring_source_recommend_retraining{$selected})"},
            "bool_yes_no",
            limit=1,
            kind="state-timeline",
            width=12,
        ),
    ],
)
