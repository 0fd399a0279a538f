"""Policy page: the decision policy in force, and the choice of a better one."""

import streamlit as st

from churnops.app.policy.choosing import choosing
from churnops.app.shared.project import NO_MODEL, production
from churnops.app.shared.text import plain
from churnops.decision.in_force import newest_policy
from churnops.decision.policy import DecisionPolicy
from churnops.model import Bundle
from churnops.project import Project
from churnops.words import percent


def page(project: Project) -> None:
    """Show the page."""
    st.title("Policy")
    bundle = production(project)
    if bundle is None:
        st.info(NO_MODEL)
        return
    policy = newest_policy(project.policies)
    st.markdown(plain(_in_force(policy, bundle), 1000))
    st.header("Choosing the policy", anchor=False)
    choosing(project, bundle, policy)


def _in_force(policy: DecisionPolicy, bundle: Bundle) -> str:
    """Describe the policy in force for people."""
    if policy.budget is not None:
        who = f"a call list costs at most {policy.amount(policy.budget)}"
    elif policy.contacts is not None:
        who = f"a call list has at most {policy.contacts:,} customers"
    else:
        who = f"a call list has every customer whose probability of leaving is at least {percent(bundle.threshold)}"
    if not policy.is_set:
        return f"Nobody has set a policy yet. So the model decides: {who}."
    return f"Policy {policy.version} is in force: {who}. Set by {policy.by}: {policy.reason}"
