"""Customers of a batch whose rows the deployed model was trained on."""

from dataclasses import dataclass
from pathlib import Path

from scipy.special import betainc

from churnops.data.identity import Identities
from churnops.errors import RegistryError
from churnops.model import Bundle
from churnops.monitoring.batch import Batch
from churnops.monitoring.cautions import Caution
from churnops.monitoring.drift import MIN_ROWS
from churnops.registry.trained_on import load_trained_on

SHARE = 0.05
"""Smallest share of training rows, beyond those expected by chance, that causes a caution."""


@dataclass(frozen=True)
class TrainingRows:
    """Rows of a batch with the same model inputs as a training row.

    Attributes
    ----------
    count
        Number of these rows; None if the training rows are not known.
    rows
        Number of rows in the batch.
    usual
        Highest share expected by chance. In a small table with few different values, customers are often equal.
    problem
        Reason why `count` is None.
    """

    count: int | None
    rows: int
    usual: float = 0.0
    problem: str = ""

    def caution(self, certain: float) -> Caution:
        """Return the caution; `certain` is the highest p-value of a certain difference at this look."""
        if self.count is None or not self.rows:
            return Caution("training_rows", "warning", None, None, self.problem or "there are no customers")
        share = self.count / self.rows
        reason = f"{self.count:,} of {self.rows:,} rows are rows the model was trained on"
        if not self.count:
            return Caution("training_rows", "warning", False, False, f"none of {self.rows:,} rows is a training row")
        if share - self.usual < SHARE:
            chance = ", as expected by chance" if share <= self.usual else ""
            return Caution("training_rows", "warning", False, False, reason + chance)
        reason += ": they say nothing about new customers"
        if self.rows < MIN_ROWS:
            return Caution("training_rows", "warning", None, None, reason)
        p_value = float(betainc(self.count, self.rows - self.count + 1, self.usual))
        return Caution("training_rows", "warning", True, p_value <= certain, reason)


def usual_repeats(bundle: Bundle, rows: int, models: Path) -> float | None:
    """Return the share of repeated rows that chance explains in a table of `rows` rows; None if it is not known.

    It is that of the model's training table, in proportion to the rows if the table is longer; at most 1.
    """
    try:
        known = load_trained_on(models, bundle.content_sha256)
    except RegistryError:
        return None
    if known is None:
        return None
    trained = _training_rows(bundle, known)
    return min(1.0, max(0.0, 1 - known.different / trained) * max(1.0, rows / trained))


def _training_rows(bundle: Bundle, known: Identities) -> int:
    return bundle.lineage.get("fits", {}).get("deployed", {}).get("rows") or known.different


def count_training_rows(bundle: Bundle, batch: Batch, models: Path) -> TrainingRows:
    """Count the rows of a batch that the model was trained on, by hashes of the model inputs; `models` is its folder.

    The time grows with the rows of the batch, and hardly with those of the training. The chance of equal rows is
    estimated by the share of training rows that repeat another one, and doubled, since the whole training table is
    searched.
    """
    if not batch.rows:
        return TrainingRows(None, 0)
    if batch.counted is None and any(column.name not in batch.columns for column in bundle.schema.model_inputs):
        problem = "rows cannot be compared, because the journal keeps no personal inputs"
        return TrainingRows(None, batch.rows, problem=problem)
    if not batch.scored:
        return TrainingRows(None, batch.rows, problem="rows cannot be compared, because a required column is broken")
    try:
        known = load_trained_on(models, bundle.content_sha256)
    except RegistryError as error:
        return TrainingRows(None, batch.rows, problem=str(error))
    if known is None:
        return TrainingRows(None, batch.rows, problem="the training rows of the model are not known")
    usual = min(1.0, max(0.0, 2 * (1 - known.different / _training_rows(bundle, known))))
    count = int(known.holds_rows(batch.columns).sum()) if batch.counted is None else batch.counted.training_rows
    return TrainingRows(count, batch.rows, usual)
