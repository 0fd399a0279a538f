"""Pages that the site generates from the code; `make lint` builds the site and checks its links."""

import doctest
import re
from types import ModuleType

import pytest
import yaml
from scripts.site import notebook, pages, paths, reference

from churnops.settings import default_config


@pytest.mark.parametrize("module", [pages, paths, reference])
def test_examples_hold(module: ModuleType):
    assert doctest.testmod(module).attempted
    assert not doctest.testmod(module).failed


def test_every_setting_has_its_default_meaning_and_rule():
    rows = dict(re.findall(r"^\| `([\w.]+)` \| (.*) \|$", reference.settings(), re.MULTILINE))
    document = yaml.safe_load(default_config())
    del document["schema"], document["features"]["derived"]
    names = {
        name
        for section, value in document.items()
        for name in ([f"{section}.{key}" for key in value] if isinstance(value, dict) else [section])
    }
    assert rows.keys() == names
    assert all(all(cell.strip() for cell in re.split(r"(?<!\\)\|", row)) for row in rows.values())


def test_every_path_of_the_api_is_described():
    assert {"POST /predict", "POST /labels", "GET /metrics"} <= set(re.findall(r"^## `(.*)`$", paths.page(), re.M))


def test_every_cell_of_the_notebook_has_run():
    code = [cell for cell in notebook.read()["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
