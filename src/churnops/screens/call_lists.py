"""Screens of call lists."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from churnops.decision.list_text import amount, chance, sentences, summary, title
from churnops.decision.policy import DecisionPolicy
from churnops.screens.layout import line, path_line, plain, table_of, time_text

if TYPE_CHECKING:
    from churnops.journal.call_lists import CallList
    from churnops.wire import CallListAnswer

SHOWN = 20


def show_list(
    call_list: "CallList",
    shown: "CallListAnswer",
    out: Path | None,
    *,
    is_new: bool | None,
    console: Console | None = None,
) -> None:
    """Print a list's head and its first customers."""
    console = console or Console()
    head = shown.head
    line(console, f"List {shown.id}", f" {shown.name}")
    if is_new is False:
        line(console, "Made before", f" {time_text(shown.at)} UTC: the same request gives the same list", "yellow")
    console.print(plain(title(head)), style="bold", soft_wrap=True)
    for sentence in sentences(head, call_list.request):
        console.print(plain(sentence), soft_wrap=True)
    if head.health:
        line(console, f"Model: {head.health.word}", f". {head.health.sentence}")
    if shown.customers:
        console.print(_customers(shown, DecisionPolicy.read(head.policy).currency))
    if len(shown.customers) > SHOWN and out is None:
        others = len(shown.customers) - SHOWN
        console.print(f"[dim]and {others:,} more: `churnops call-lists {shown.id} --out list.csv`", highlight=False)
    if out is not None:
        path_line(console, "Written to", out)


def show_lists(call_lists: "Sequence[CallList]", console: Console | None = None) -> None:
    """Print the kept lists, newest first."""
    console = console or Console()
    if not call_lists:
        console.print("There is no call list yet: type `churnops call-list`")
        return
    table = table_of(
        left=("list", "name", "made (UTC)", "by"), right=("customers", "profit"), wrapped=("name", "by", "made (UTC)")
    )
    for one in map(summary, call_lists):
        currency = DecisionPolicy.read(one.head.policy).currency
        profit = amount(one.head.profit.expected, currency) if one.head.profit else ""
        who, name = plain(one.by or ""), plain(one.name)
        table.add_row(str(one.id), name, time_text(one.at), who, f"{one.head.customers:,}", plain(profit))
    console.print(table)


def _customers(shown: "CallListAnswer", currency: str) -> object:
    table = table_of(left=("", "customer", "probability", "profit", "status"))
    table.add_column("why, and what to offer")
    for one in shown.customers[:SHOWN]:
        why = "; ".join(one.reasons) + (f" -> {one.action}" if one.action else "")
        profit = "" if one.expected_profit is None else amount(one.expected_profit, currency)
        table.add_row(
            str(one.place), plain(one.customer_id), chance(one.churn_probability), plain(profit), one.status, plain(why)
        )
    return table
