"""Public tables as projects: the settings that `churnops init` writes for a table, and all its customers."""

import tempfile
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from benchmarks.product import Customers
from benchmarks.table_files import TABLES, Table
from churnops.data.read import encode, outcomes, read_table
from churnops.data.validate import check_customers
from churnops.discovery.project import init_project
from churnops.settings import Settings, load_settings


@dataclass(frozen=True)
class PublicProject:
    """A table of `table_files.py` with `training.recipe: general`, as a new project has it."""

    table: Table

    @classmethod
    @lru_cache
    def of(cls, name: str) -> "PublicProject":
        """Return the project of a table; its file is downloaded if the cache lacks it."""
        TABLES[name].write()
        return cls(TABLES[name])

    @property
    def description(self) -> str:
        """Two sentences for the page."""
        settings, churned = self.settings, self.everyone.outcome
        return (
            f"The public table `{self.table.name}` ({churned.size:,} rows, {100 * churned.mean():.1f} % churn, "
            f"{len(settings.table.model_inputs)} inputs), see [public tables](#public-tables). The settings are those "
            "that `churnops init` writes for it, with `training.recipe: general` and without `performance_threshold`."
        )

    @property
    def _files(self) -> list[Path]:
        return [self.table.file_of(part, 0) for part in ("train", "valid")]

    @cached_property
    def settings(self) -> Settings:
        """Settings that `churnops init` writes; the table is read from the cache."""
        with tempfile.TemporaryDirectory() as name:
            _, path = init_project(self._files, self.table.target, positive=self.table.positive, folder=Path(name))
            return load_settings(path, environment={})

    @cached_property
    def everyone(self) -> Customers:
        """All customers of the table."""
        schema = self.settings.table
        parts = [check_customers(read_table(f, schema), schema, f.name, keep_outcome=True) for f in self._files]
        columns = [encode(part, schema) for part in parts]
        churned = np.concatenate([outcomes(part, schema) == 1.0 for part in parts])
        return Customers({n: np.concatenate([c[n] for c in columns]) for n in columns[0]}, churned, "0" * 64)
