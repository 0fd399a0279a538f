"""The list of simulated files, over every database."""

from pathlib import Path

from sqlalchemy import Engine

from churnops.data.simulated import file_sha256
from churnops.journal.simulated import SimulatedFiles


def test_a_file_is_known_by_its_content_whatever_it_is_called(engine: Engine, tmp_path: Path):
    made, other = tmp_path / "made.csv", tmp_path / "other.csv"
    made.write_text("a,b\n1,2\n")
    files = SimulatedFiles(engine)
    assert not files.holds(made)
    for _ in range(2):
        files.add(file_sha256(made), "1 customer")
    assert files.holds(made)
    other.write_bytes(made.read_bytes())
    assert SimulatedFiles(engine).holds(other)
    other.write_text("a,b\n1,3\n")
    assert not files.holds(other)
