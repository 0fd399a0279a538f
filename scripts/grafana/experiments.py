"""Panels of the dashboard *experiments*: the running shadow or split. Without one, they show 0."""

from scripts.grafana.model import Dashboard, Panel

NONE = "or vector(0)"


def rate(metric: str, label: str = "") -> str:
    """Return the query of a counter's rate over all instances; `label` selects one of its series."""
    selectors = f"$selected, {label}" if label else "$selected"
    return f"sum(rate({metric}{{{selectors}}}[$__rate_interval])) {NONE}"


def look(name: str) -> str:
    """Return the query of a gauge of the shadow's newest look, which is NaN while no shadow runs."""
    return f"max(churnops_shadow_{name}{{$selected}} > -Inf) {NONE}"


EXPERIMENTS = Dashboard(
    "experiments",
    "The running shadow or split. Without one, the panels show 0.",
    [
        Panel(
            "A shadow runs",
            "Yes: a challenger scores live customers beside the deployed model.",
            {"running": "max(churnops_shadow_running{$selected})"},
            "bool_yes_no",
            kind="stat",
            width=12,
        ),
        Panel(
            "Known outcomes of the shadow",
            "Customers whose outcome is due and known.",
            {"outcomes": look("labelled")},
            kind="stat",
            width=12,
        ),
        Panel(
            "Gain of the challenger",
            "Champion's log loss minus the challenger's, with bounds that hold at all looks together, and the gain "
            "that the gate requires.",
            {
                "gain": look("gain"),
                "low": look("gain_low"),
                "high": look("gain_high"),
                "required": look("required_gain"),
            },
        ),
        Panel(
            "Customers of the shadow",
            "Customers a second that the challenger scored, and those that were dropped.",
            {"scored": rate("churnops_shadow_scored_total"), "dropped": rate("churnops_shadow_dropped_total")},
        ),
        Panel(
            "Answers of the split",
            "Answered customers a second by arm, and those without an id, whom the champion answers. A challenger that "
            "is slow ends the split, with an alert.",
            {
                "champion": rate("churnops_split_answers_total", 'arm="champion"'),
                "challenger": rate("churnops_split_answers_total", 'arm="challenger"'),
                "without an id": rate("churnops_split_without_id_total"),
            },
        ),
    ],
)
