"""Plan of the demonstration: `demo.yaml`, and the values that the command line overrides."""

from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from churnops.errors import SettingsError
from churnops.settings import default_config

DEFAULT = Path(__file__).with_name("demo.yaml")
DAY = 86_400.0

Seconds = Annotated[float, Field(gt=0.0, le=3600.0)]


class DemoPlan(BaseModel):
    """Rates, lengths and sizes, explained in `demo.yaml`. Times are seconds, where the product's settings have days."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    seed: Annotated[int, Field(ge=0)]
    rate: Annotated[float, Field(gt=0.0, le=500.0)]
    drift: Annotated[float, Field(ge=0.0, le=1.0)]
    before_seconds: Seconds
    after_seconds: Seconds
    quiet_seconds: Seconds
    patience_seconds: Seconds
    label_horizon_seconds: Seconds
    label_delay_seconds: Seconds
    window_seconds: Seconds
    cycle_seconds: Annotated[int, Field(ge=1, le=3600)]
    slice_customers: Annotated[int, Field(ge=50)]
    batch_rows: Annotated[int, Field(ge=100, le=100_000)]
    batch_concept: Annotated[float, Field(ge=0.0, le=1.0)]
    settings: dict[str, Any]

    @classmethod
    def read(cls, path: Path = DEFAULT, **overrides: Any) -> Self:
        """Read a plan, with values that override the file's.

        Raises
        ------
        SettingsError
            If a name or value is not allowed: one line on the first.
        """
        try:
            document = yaml.safe_load(path.read_text(encoding="utf-8"))
            return cls.model_validate({**document, **overrides})
        except (OSError, yaml.YAMLError, TypeError) as error:
            raise SettingsError(f"{path} is not a plan: {str(error).partition(chr(10))[0]}") from None
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise SettingsError(f"{path}: '{where}': {first['msg']}; see {DEFAULT}") from None

    def config(self, port: int) -> str:
        """Return the `config.yaml` of a project whose API listens on `port`."""
        document = yaml.safe_load(default_config())
        _overlay(document, self.settings)
        document["demonstration"] = True
        document["journal"]["label_horizon"] = self.label_horizon_seconds / DAY
        document["monitoring"]["window_days"] = self.window_seconds / DAY
        document["api"]["port"] = port
        document["retraining"]["check_url"] = f"http://127.0.0.1:{port}"
        return yaml.safe_dump(document, sort_keys=False)


def _overlay(document: dict[str, Any], changes: dict[str, Any]) -> None:
    for name, value in changes.items():
        if isinstance(value, dict) and isinstance(document.get(name), dict):
            _overlay(document[name], value)
        else:
            document[name] = value
