"""Tests; modules share helpers in `tests.support`, and no test module imports another."""

import pytest

pytest.register_assert_rewrite("tests.support")
