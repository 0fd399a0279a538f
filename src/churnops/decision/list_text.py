"""Call lists in words, the same in the terminal and on the page, and as a CSV that is safe in spreadsheets."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from churnops.decision.policy import DecisionPolicy
from churnops.schema import Schema
from churnops.wire import CallListAnswer, CallListHead, CallListSummary, ListedCustomerAnswer
from churnops.words import percent

if TYPE_CHECKING:
    from churnops.journal.call_lists import CallList, ListedCustomer
    from churnops.journal.contacts import Contact

CUSTOMER = "Customer"
HEADERS = (
    "Rank",
    CUSTOMER,
    "Probability",
    "Value",
    "Expected profit",
    "Reason 1",
    "Reason 2",
    "Reason 3",
    "Suggested action",
    "Status",
    "Note",
)
_LEFT_OUT = {
    "contacted": "contacted in the last {days} days",
    "listed": "on a list of the last {days} days",
    "left": "known to have left since their score",
    "without value": "without a known value",
}


def chance(probability: float) -> str:
    """Return a probability for a table: never 100 % or 0 %.

    >>> chance(0.99718), chance(0.99998), chance(0.00001), chance(0.12)
    ('99.7 %', '>99.9 %', '<0.1 %', '12.0 %')
    """
    if probability > 0.9994:
        return ">99.9 %"
    return "<0.1 %" if probability < 0.0005 else f"{probability * 100:.1f} %"


def amount(value: float, currency: str) -> str:
    """Return an amount of money: whole from 100 up, else with two decimals unless it is whole.

    >>> amount(2350.4, "EUR"), amount(9.5, ""), amount(-0.2, "EUR"), amount(40, "EUR")
    ('2,350 EUR', '9.50', '-0.20 EUR', '40 EUR')
    """
    text = f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:,.2f}"
    return f"{text} {currency}" if currency else text


def title(head: CallListHead) -> str:
    """Return the list in one sentence."""
    if not head.customers:
        return f"Of {head.scored:,} customers, there is nobody to call."
    whom = "call this one" if head.customers == 1 else f"call these {head.customers:,}"
    policy = DecisionPolicy.read(head.policy)
    profit = f" Expected profit: {amount(head.profit.expected, policy.currency)}." if head.profit else ""
    return f"Of {head.scored:,} customers, {whom}.{profit}"


def sentences(head: CallListHead, request: Mapping[str, Any]) -> list[str]:
    """Return what the numbers of a list mean, a sentence or two each; `request` is the document of `ListRequest`."""
    policy = DecisionPolicy.read(head.policy)
    left_out = _left_out(head.left_out, int(request.get("days", 0)))
    lines = [_segment(request.get("where", {})), _profit(head, policy), _end(head, policy), left_out, _scores(head)]
    return [line for line in lines if line]


def summary(call_list: "CallList") -> CallListSummary:
    """Return a list without its customers."""
    head = CallListHead.model_validate(call_list.head)
    return CallListSummary(id=call_list.id, name=call_list.name, at=call_list.at, by=call_list.by, head=head)


def answer(
    call_list: "CallList", customers: "Sequence[ListedCustomer]", contacts: "Mapping[str, Contact]"
) -> CallListAnswer:
    """Return a list with its customers, and what became of them."""
    listed = [_listed(one, contacts.get(one.customer_id)) for one in customers]
    return CallListAnswer(**dict(summary(call_list)), customers=listed)


def _listed(one: "ListedCustomer", contact: "Contact | None") -> ListedCustomerAnswer:
    return ListedCustomerAnswer(
        place=one.place,
        customer_id=one.customer_id,
        churn_probability=one.probability,
        value=one.value,
        expected_profit=one.expected_profit,
        reasons=list(one.reasons),
        action=one.action,
        status=contact.status if contact else "to do",
        note=contact.note if contact else "",
    )


def as_csv(customers: Sequence[ListedCustomerAnswer], schema: Schema) -> bytes:
    """Return a list as CSV. An apostrophe precedes texts that a spreadsheet reads as formulas.

    The ids have the header of the Schema's id, by which `journal forget` finds them.
    """
    import polars as pl

    from churnops.scoring.csv_answer import csv_of

    rows = [
        (
            one.place,
            one.customer_id,
            round(one.churn_probability, 6),
            one.value,
            None if one.expected_profit is None else round(one.expected_profit, 2),
            *(one.reasons[place] if place < len(one.reasons) else "" for place in range(3)),
            one.action,
            one.status,
            one.note,
        )
        for one in customers
    ]
    kinds = [pl.Int64, pl.String, pl.Float64, pl.Float64, pl.Float64, *[pl.String] * 6]
    table = pl.DataFrame(rows, dict(zip(HEADERS, kinds, strict=True)), orient="row")
    if schema.identifier is not None:
        table = table.rename({CUSTOMER: schema.identifier.alias or schema.identifier.name})
    return csv_of(table, safe=True)


def file_name(call_list: "CallList") -> str:
    """Return the name of a list's file: letters, digits and hyphens of its name.

    >>> from types import SimpleNamespace
    >>> file_name(SimpleNamespace(name="Week 48: =cmd|'/C calc'", id=3))
    'call-list-3-Week-48-cmd-C-calc.csv'
    """
    words = "".join(letter if letter.isalnum() else " " for letter in call_list.name).split()
    return f"{'-'.join(['call-list', str(call_list.id), *words])[:80]}.csv"


def _segment(where: Mapping[str, Sequence[str]]) -> str:
    parts = [f"{name} is {' or '.join(levels)}" for name, levels in where.items()]
    return f"Only customers whose {' and '.join(parts)}." if parts else ""


def _profit(head: CallListHead, policy: DecisionPolicy) -> str:
    if head.profit is None:
        *others, last = [name.replace("_", " ") for name in policy.missing_terms()] or [""]
        if not last or not head.customers:
            return ""
        missing = f"{', '.join(others)} and {last}" if others else last
        by = "the value at risk" if policy.value_column else "the probability of leaving"
        return f"The expected profit is not known: the decision policy lacks {missing}. The list is ranked by {by}."
    low, high = (amount(value, policy.currency) for value in (head.profit.low, head.profit.high))
    value = (
        f"the value of a customer is the column {policy.value_column}"
        if policy.value_column
        else f"keeping a customer is worth {amount(float(policy.value or 0), policy.currency)}"
    )
    basis = (
        "how exact the model's probabilities are, and chance"
        if head.profit.basis == "calibration and chance"
        else "chance only, because this model has no reference customers"
    )
    return (
        f"The profit will be between {low} and {high} ({percent(head.profit.confidence)} interval), if a contact keeps "
        f"{percent(policy.success_rate or 0)} of the customers who would leave, and {value}. These two are "
        f"assumptions; the interval accounts for {basis}."
    )


def _end(head: CallListHead, policy: DecisionPolicy) -> str:
    if head.cut_off is None:
        reasons = {
            "threshold": "nobody reaches the threshold",
            "profit": "no call pays",
            "limit": "the budget is less than the cost of one contact",
        }
        return f"The list is empty: {reasons.get(head.ended_by, 'nobody is left')}."
    lowest = f"The lowest probability on the list is {chance(head.cut_off)}"
    if head.ended_by == "limit":
        limit = (
            f"the budget of {amount(policy.budget, policy.currency)} is spent"
            if policy.budget is not None
            else "it has as many customers as were asked for"
        )
        return f"{lowest}. It ends because {limit}."
    ends = {
        "threshold": "the next customers are below the threshold",
        "profit": "a call of the next customers would cost more than it brings",
        "customers": "there are no more customers",
    }
    return f"{lowest}. It ends because {ends.get(head.ended_by, 'there are no more customers')}."


def _left_out(left_out: Mapping[str, int], days: int) -> str:
    parts = [f"{left_out[name]:,} {text.format(days=days)}" for name, text in _LEFT_OUT.items() if left_out.get(name)]
    return f"Left out: {', '.join(parts)}." if parts else ""


def _scores(head: CallListHead) -> str:
    if head.until is None:
        return f"Scores: of the file {head.source}, by the model {head.model_version}."
    return f"Scores: the newest of each customer up to {head.until:%Y-%m-%d %H:%M:%S} UTC, at most 60 s behind."
