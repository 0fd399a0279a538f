"""Tests with other programs: `make engines`."""
