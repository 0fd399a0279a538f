"""Step: what every step of a pipeline hands to whoever tracks it.

A step is a plain function: typed inputs in, one frozen `StepResult` out. It knows nothing of MLflow; the runner in
`churnops.tracking` records what the result carries.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """What a step wants tracked; each step adds its own outputs in a subclass.

    `artifacts` maps a file name to its content. `children` become nested runs (one per model); a `bundle`
    (a `churnops.model.Bundle`) is logged as the run's model. `datasets` maps a
    data set's name to (where it came from, SHA-256 of its content).
    """

    params: Mapping[str, object] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    artifacts: Mapping[str, str | bytes] = field(default_factory=dict)
    datasets: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    children: Mapping[str, "StepResult"] = field(default_factory=dict)
    bundle: object = None
