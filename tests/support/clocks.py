"""A clock that a test moves."""

from dataclasses import dataclass


@dataclass
class Clock:
    """In place of the module `time` in code that waits: the time passes in its pauses, and where the test adds to it.

    So what happens within a limit does not depend on the machine.
    """

    seconds: float = 0.0

    def monotonic(self) -> float:
        """Return the seconds passed."""
        return self.seconds

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.seconds += seconds
