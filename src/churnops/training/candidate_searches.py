"""Search of all candidates of a plan, by threads of this process or by a cluster."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from churnops.cluster import Workers, one_library_thread, open_workers
from churnops.evaluation.metrics import HIGHER_IS_BETTER
from churnops.settings import Family
from churnops.training.bundle_maker import BundleMaker
from churnops.training.candidates import CANDIDATES
from churnops.training.plan import Plan
from churnops.training.recipe import form_of
from churnops.training.recipe_search import RecipeSearch, capped
from churnops.training.search import CrossValidation, Search, Weighting


@dataclass(frozen=True)
class Searched:
    """Search of a candidate, and the seconds that it took."""

    search: Search
    seconds: float


def search_candidates(maker: BundleMaker, plan: Plan, on_family: Callable[[str], None]) -> dict[str, Searched]:
    """Search every candidate."""
    candidates, trials = plan.candidates(), maker.settings.training.trials
    searches: dict[str, Searched] = {}

    def searched(name: str) -> Searched:
        started = time.perf_counter()
        family, weighting = candidates[name]
        best = search(family, trials.get(family, 1), weighting)
        return Searched(best, time.perf_counter() - started)

    with one_library_thread(), open_workers(maker.settings.cluster.address, plan.threads) as workers:
        search = _searcher(maker, plan, workers)
        for names in _rounds(maker, candidates):
            with open_workers("", len(names)) as side_by_side:
                for name, task in [(name, side_by_side.submit(searched, name)) for name in names]:
                    searches[name] = task.result()
                    on_family(name)
    return {name: searches[name] for name in candidates}


def search_winner(maker: BundleMaker, plan: Plan) -> tuple[Family, Search]:
    """Search every candidate, and return the winner's family and search."""
    searches = search_candidates(maker, plan, lambda name: None)
    winner = choose_winner(searches, maker.settings.training.selection_metric)
    return plan.candidates()[winner][0], searches[winner].search


def _searcher(maker: BundleMaker, plan: Plan, workers: Workers) -> Callable[[Family, int, Weighting | None], Search]:
    """Return the function that searches a family, given the number of trials and the weighting."""
    settings, training = maker.settings, maker.prepared.training
    metric, seed = settings.training.selection_metric, settings.random_state
    columns, outcome = maker.prepared.rows(training), maker.prepared.outcome[training]
    if maker.general:
        folds = capped(plan.folds, seed)
        customers = None if maker.prepared.customers is None else maker.prepared.customers[training]
        recipe = RecipeSearch(maker.build, maker.kinds, columns, outcome, folds, metric, seed, workers, customers)
        return recipe.search
    validation = CrossValidation(maker.build, columns, outcome, plan.folds, metric, seed, workers)
    return lambda family, *others: validation.search(CANDIDATES[family], *others)


def _rounds(maker: BundleMaker, candidates: Mapping[str, tuple[Family, Weighting | None]]) -> list[list[str]]:
    """Return the candidates to search side by side, so that no worker waits for the last fold of a family.

    They see the same encoded rows, so memory holds one form of the rows. A blend comes last: it adds up the others.
    """
    if not maker.general:
        return [[name] for name in candidates]
    rounds: dict[tuple[str, int], list[str]] = {}
    for name, (family, weighting) in sorted(candidates.items(), key=lambda item: item[1][0] == "blend"):
        form = family if family == "blend" else form_of(family, maker.kinds)
        rounds.setdefault((form, id(weighting)), []).append(name)
    return list(rounds.values())


def choose_winner(searches: Mapping[str, Searched], metric: str) -> str:
    """Return the candidate with the best mean of the metric over the folds.

    A blend also wins if the best is better by at most one standard error: it averages the best with others, so it is
    the safer choice of two that the folds cannot tell apart.
    """
    trials = {name: searched.search.best for name, searched in searches.items()}
    sign = -1.0 if HIGHER_IS_BETTER[metric] else 1.0
    best, *others = sorted(trials, key=lambda name: sign * trials[name].mean(metric))
    blend = next((name for name in others if name.startswith("blend")), None)
    if blend is None or len(trials[best].folds) < 2:
        return best
    pairs = zip(trials[blend].folds, trials[best].folds, strict=True)
    gain = np.array([sign * (its[metric] - lowest[metric]) for its, lowest in pairs])
    return blend if gain.mean() <= gain.std(ddof=1) / np.sqrt(gain.size) else best
