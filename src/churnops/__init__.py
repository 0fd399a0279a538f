"""churnops keeps a trustworthy churn model in production.

It trains, tracks, explains, serves, watches and retrains a churn model, and replaces it only on evidence.
`docs/python.md` shows the names below with examples; each is imported at its first use. `docs/architecture.md` follows
one customer's record through the packages.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from churnops.errors import ChurnopsError, DataError
    from churnops.monitoring import ModelMonitor
    from churnops.python_api.model import Model, load_model
    from churnops.python_api.project import compare, init, monitor, run, simulate
    from churnops.schema import Schema

__version__ = "0.1.0"

__all__ = [
    "ChurnopsError",
    "DataError",
    "Model",
    "ModelMonitor",
    "Schema",
    "__version__",
    "compare",
    "init",
    "load_model",
    "monitor",
    "run",
    "simulate",
]

_MODULES = {
    "ChurnopsError": "churnops.errors",
    "DataError": "churnops.errors",
    "Model": "churnops.python_api.model",
    "ModelMonitor": "churnops.monitoring",
    "Schema": "churnops.schema",
    "compare": "churnops.python_api.project",
    "init": "churnops.python_api.project",
    "load_model": "churnops.python_api.model",
    "monitor": "churnops.python_api.project",
    "run": "churnops.python_api.project",
    "simulate": "churnops.python_api.project",
}


if not TYPE_CHECKING:  # a type checker would allow any name

    def __getattr__(name: str) -> object:
        """Import a public name at its first use: `import churnops` and `churnops --help` load no large library."""
        if name not in _MODULES:
            raise AttributeError(f"module 'churnops' has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(_MODULES[name]), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
