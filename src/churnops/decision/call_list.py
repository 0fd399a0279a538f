"""Call lists: whom to contact, ranked by expected profit, with reasons and a suggested action."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from churnops.decision.candidates import Candidate, Candidates, JournalCandidates
from churnops.decision.list_profit import Reference, list_profit
from churnops.decision.list_request import MAX_CUSTOMERS, ListRequest
from churnops.decision.policy import DecisionPolicy
from churnops.decision.reasons import Wording
from churnops.errors import CallListError, DataError
from churnops.model import Bundle
from churnops.schema import Schema
from churnops.wire import CallListHead, CallListHealth, CallListProfit

if TYPE_CHECKING:
    from churnops.journal import Engine
    from churnops.journal.call_lists import CallList, ListedCustomer

BLOCK = 2_000
"""Number of customers whose reasons are in memory at a time."""

ATTEMPTS = 5
"""Number of times that a list is made if other lists are made meanwhile."""


@dataclass(frozen=True)
class ListMaker:
    """Makes call lists with a project's deployed model and decision policy.

    Attributes
    ----------
    policy
        The policy in force.
    reference
        File with the model's reference customers, which need not exist.
    confidence, seed
        Settings of intervals.
    """

    engine: "Engine"
    bundle: Bundle
    policy: DecisionPolicy
    wording: Wording
    reference: Path
    confidence: float
    seed: int

    def make(
        self, request: ListRequest, *, health: CallListHealth | None, by: str | None, file: Path | None = None
    ) -> tuple["CallList", bool]:
        """Make a call list and keep it; return it, and whether it is new.

        The same request on the same day gives the list that exists already, also to another process.

        Parameters
        ----------
        health
            State of the deployed model, which the list's head shows.
        by
            Name of the user or the API key.
        file
            File of customers; None: the newest scores in the journal.

        Raises
        ------
        ChurnopsError
            If no customer can be listed, a number is missing or a name is taken.
        """
        from churnops.journal.call_lists import CallListStore, same_request

        store, now = CallListStore(self.engine), datetime.now(UTC)
        policy, request = request.policy(self.policy), request.in_table(self.bundle.schema)
        if problem := policy.value_problem(self.bundle.schema):
            raise CallListError(problem)
        document = request.document(file.name if file else JournalCandidates.source, policy)
        for _ in range(ATTEMPTS):
            after = store.last_id()
            name = request.name.strip() or _free_name(store.newest(200), document, now)
            if (known := store.named(name)) is not None:
                return same_request(known, document), False
            candidates = self._candidates(file)
            chosen = _Selection(self, request, policy, now).of(candidates)
            rows, head = self._rows(candidates, chosen, policy), self._head(candidates, chosen, policy, health)
            kept = store.add(name, document, head.model_dump(mode="json"), rows, by=by, after=after)
            if kept is not None:
                return kept
        raise CallListError("other call lists are being made: try again")

    def _candidates(self, file: Path | None) -> Candidates:
        if file is None:
            return JournalCandidates(self.engine, self.bundle, self.policy.value_column)
        from churnops.decision.file_candidates import FileCandidates  # loads Polars

        return FileCandidates(file, self.bundle, self.policy.value_column)

    def _rows(self, candidates: Candidates, chosen: "Chosen", policy: DecisionPolicy) -> "list[ListedCustomer]":
        from churnops.journal.call_lists import ListedCustomer

        recorded, profits = isinstance(candidates, JournalCandidates), _profits(chosen.customers, policy)
        rows: list[ListedCustomer] = []
        for start in range(0, len(chosen.customers), BLOCK):
            block = chosen.customers[start : start + BLOCK]
            for one, detail in zip(block, candidates.details(block), strict=True):
                reasons = tuple(self.wording.reason(name, detail.values.get(name)) for name in detail.raising)
                rows.append(
                    ListedCustomer(
                        len(rows) + 1,
                        one.customer_id,
                        one.key if recorded else None,
                        one.probability,
                        _value_of(one, policy),
                        profits[len(rows)] if profits else None,
                        reasons,
                        self.wording.action(detail.raising),
                    )
                )
        return rows

    def _head(
        self, candidates: Candidates, chosen: "Chosen", policy: DecisionPolicy, health: CallListHealth | None
    ) -> CallListHead:
        count = len(chosen.customers)
        return CallListHead(
            customers=count,
            scored=candidates.scored,
            source=candidates.source,
            until=candidates.until,
            rule=policy.rule,
            ended_by=chosen.ended_by,
            cut_off=min((one.probability for one in chosen.customers), default=None),
            cost=None if policy.cost is None else policy.cost * count,
            profit=self._profit(chosen.customers, policy),
            left_out={name: number for name, number in chosen.left_out.items() if number},
            policy=policy.to_json(),
            model_version=self.bundle.version_name,
            health=health,
        )

    def _profit(self, customers: Sequence[Candidate], policy: DecisionPolicy) -> CallListProfit | None:
        if policy.missing_terms() or not customers:
            return None
        assert policy.success_rate is not None
        assert policy.cost is not None
        probability = np.array([one.probability for one in customers])
        gain = policy.success_rate * np.array([_value_of(one, policy) for one in customers], dtype=np.float64)
        reference = _reference(self.reference, self.bundle.schema)
        profit = list_profit(probability, gain, policy.cost, reference, confidence=self.confidence, seed=self.seed)
        return CallListProfit(confidence=self.confidence, **profit._asdict())


@dataclass
class Chosen:
    """Customers of a list, the number of those left out by reason, and why the list ends."""

    customers: list[Candidate] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    ended_by: str = ""


@dataclass(frozen=True)
class _Selection:
    """The choice of a list's customers."""

    maker: ListMaker
    request: ListRequest
    policy: DecisionPolicy
    now: datetime

    def of(self, candidates: Candidates) -> Chosen:
        """Choose customers from the top of the ranking until the policy's limit, or until a call no longer pays."""
        chosen = Chosen(ended_by=self._end())
        limit = MAX_CUSTOMERS if self.policy.limit is None else min(self.policy.limit, MAX_CUSTOMERS)
        if limit == 0:  # the budget does not pay for a single contact
            return Chosen(ended_by="limit")
        if self.policy.value_column is not None:
            chosen.left_out["without value"] = candidates.without_value
        where = self.request.segment(self.maker.bundle.schema)
        for page in candidates.pages(self._floor(), self._lowest(), where):
            self._add(page, chosen, limit)
            if len(chosen.customers) == limit:
                chosen.ended_by = "limit"
                break
        return chosen

    def _add(self, page: list[Candidate], chosen: Chosen, limit: int) -> None:
        from churnops.journal.ranked_scores import left_out

        if not page:
            return
        since = self.request.since(self.now)
        reasons = left_out(self.maker.engine, [one.customer_id for one in page], since, [one.at for one in page])
        for one in page:
            if (reason := reasons.get(one.customer_id)) is not None:
                chosen.left_out[reason] += 1
                continue
            chosen.customers.append(one)
            if len(chosen.customers) == limit:
                return

    def _floor(self) -> float:
        """Return what must be at risk so that a call pays: cost ÷ success rate (÷ value, if it is one for all)."""
        if self.policy.rule == "threshold" or self.policy.missing_terms():
            return -np.inf
        assert self.policy.success_rate is not None
        assert self.policy.cost is not None
        value = 1.0 if self.policy.value_column is not None else float(self.policy.value or 0.0)
        gain = self.policy.success_rate * value
        return self.policy.cost / gain if gain else np.inf

    def _lowest(self) -> float:
        return self.policy.threshold_for(self.maker.bundle.threshold) if self.policy.rule == "threshold" else 0.0

    def _end(self) -> str:
        if self.policy.rule == "threshold":
            return "threshold"
        return "customers" if self.policy.missing_terms() else "profit"


def _reference(path: Path, schema: Schema) -> Reference | None:
    """Return scores and outcomes of a model's reference customers; None if there are none."""
    if not path.is_file():
        return None
    from churnops.decision.sample import read_reference  # loads Polars

    try:
        sample = read_reference(path, schema)
    except DataError:
        return None
    return Reference(sample.score, sample.outcome)


def _value_of(customer: Candidate, policy: DecisionPolicy) -> float | None:
    """Return what keeping a customer is worth, None if the policy does not say."""
    return customer.value if policy.value_column is not None else policy.value  # type: ignore[return-value]


def _profits(customers: Sequence[Candidate], policy: DecisionPolicy) -> list[float] | None:
    if policy.missing_terms():
        return None
    probability = [one.probability for one in customers]
    has_values = policy.value_column is not None
    values = np.array([one.value for one in customers], dtype=np.float64) if has_values else None
    profits: list[float] = policy.expected_profit(probability, values).tolist()
    return profits


def _free_name(lists: "Sequence[CallList]", document: Mapping[str, Any], now: datetime) -> str:
    """Return the day, with a number unless the same request made a list of this day already."""
    day, taken = f"{now:%Y-%m-%d}", {one.name: one for one in lists}
    number, name = 1, day
    while name in taken and taken[name].request != document:
        number += 1
        name = f"{day} ({number})"
    return name
