"""Programs outside Python that some tests need."""

import os
import shutil
from pathlib import Path

# Each program: the command that must exist, and how to install it.
PARTS = {
    "postgresql": ("initdb", "apt-get install postgresql"),
    "prometheus": ("promtool", "apt-get install prometheus"),
    "chromium": ("chromium", "apt-get install chromium"),
    "haproxy": ("haproxy", "apt-get install haproxy"),
    "pgbouncer": ("pgbouncer", "apt-get install pgbouncer"),
    "iproute2": ("ip", "apt-get install iproute2"),
    "java": ("java", "apt-get install default-jre-headless"),
    "npm": ("npm", "apt-get install npm"),
    "libreoffice": ("soffice", "apt-get install libreoffice-calc-nogui"),
    "azurite": ("azurite-blob", "bash scripts/test_parts.sh (needs npm)"),
}
POSTGRES_FOLDERS = ":".join(str(folder) for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True))
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "churnops-tests"
NPM_FOLDERS = ":".join(str(folder) for folder in sorted(CACHE.glob("*/node_modules/.bin")))
FOLDERS = f"/usr/sbin:{POSTGRES_FOLDERS}:{NPM_FOLDERS}"


def missing(part: str) -> str:
    return f"{part} is missing: {PARTS[part][1]}"


def find_part(part: str) -> str | None:
    return shutil.which(PARTS[part][0], path=f"{os.environ.get('PATH', '')}:{FOLDERS}")
