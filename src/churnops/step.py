"""Step: a plain function of a pipeline with typed inputs and one frozen `StepResult`.

Steps do not use MLflow; the runner in `churnops.tracking` records their results.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """Result of a step, for tracking; a subclass adds the step's own outputs.

    `artifacts` maps a file name to its content, or to the path of a large file. `children` become nested runs, one for
    each model. A `bundle` (`churnops.model.Bundle`) becomes the run's model; `metrics` are then the model's, measured
    on the data set of `datasets`, and `other_metrics` those of other models. `datasets` maps a data set's name to its
    source and the SHA-256 of its content. `folds` maps a metric to its values in each fold. `seconds` is the duration
    of a child; None stands for the duration of its tracking. `summary` is the result in words, for the output of the
    run.
    """

    params: Mapping[str, object] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    other_metrics: Mapping[str, float] = field(default_factory=dict)
    artifacts: Mapping[str, str | bytes | Path] = field(default_factory=dict)
    datasets: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    children: Mapping[str, "StepResult"] = field(default_factory=dict)
    bundle: object = None
    folds: Mapping[str, Sequence[float]] = field(default_factory=dict)
    seconds: float | None = None
    summary: str = ""
