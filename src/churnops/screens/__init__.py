"""Results of the commands in the terminal, as sentences and tables: a file for each group of commands."""

from churnops.screens.call_lists import show_list, show_lists
from churnops.screens.decision import policy_document, show_choice, show_policies, show_policy
from churnops.screens.deployments import show_deployment
from churnops.screens.models import show_comparison, show_gate, show_keys, show_models, show_promotion
from churnops.screens.monitoring import show_cycle
from churnops.screens.retraining import show_retraining
from churnops.screens.run import show_run
from churnops.screens.shadow import show_shadow
from churnops.screens.split import show_split

__all__ = [
    "policy_document",
    "show_choice",
    "show_comparison",
    "show_cycle",
    "show_deployment",
    "show_gate",
    "show_keys",
    "show_list",
    "show_lists",
    "show_models",
    "show_policies",
    "show_policy",
    "show_promotion",
    "show_retraining",
    "show_run",
    "show_shadow",
    "show_split",
]
