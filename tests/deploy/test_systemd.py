"""systemd accepts the units of `deploy/systemd`, and counts them as hardened."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import UNITS

SERVICES = sorted(path.name for path in UNITS.glob("*.service"))


def analyze(*arguments: str | Path) -> tuple[int, str, str]:
    done = subprocess.run(("systemd-analyze", *arguments), capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    shutil.copytree(UNITS, tmp_path, dirs_exist_ok=True)
    for name in SERVICES:
        (tmp_path / name).write_text((UNITS / name).read_text().replace("/opt/churnops/bin/churnops", sys.executable))
    units = [path for path in sorted(tmp_path.iterdir()) if path.is_file()]
    assert len(units) == 6
    assert analyze("verify", *units) == (0, "", "")


@pytest.mark.parametrize("name", SERVICES)
def test_exposure_is_at_most_2_of_10(name: str) -> None:
    code, output, errors = analyze("security", "--offline=yes", "--threshold=20", UNITS / name)
    assert (code, errors) == (0, ""), output
