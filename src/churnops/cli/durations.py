"""Durations of options, such as 12h."""

import re
from datetime import timedelta
from typing import Any, ClassVar

import click


class Duration(click.ParamType[timedelta]):
    """A whole number and a unit."""

    name = "duration"
    longest = timedelta(days=3650)
    units: ClassVar = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Return the duration of a text."""
        if isinstance(value, timedelta):
            return value
        match = re.fullmatch(r"([1-9]\d{0,5})([smhd])", value)
        if not match:
            self.fail(f"{value!r} is not a duration such as 30m, 12h or 7d", param, ctx)
        duration = timedelta(**{self.units[match[2]]: int(match[1])})
        if duration > self.longest:
            self.fail(f"{value!r} is longer than {self.longest.days} days", param, ctx)
        return duration
