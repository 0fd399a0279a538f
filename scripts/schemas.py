"""Write the JSON Schemas of published documents to `docs/schemas`: `make schema`.

A test compares the files with the models.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from churnops.document import Document
from churnops.monitoring.document import ReportDocument
from churnops.retraining.document import SummaryDocument

FOLDER = Path(__file__).parents[1] / "docs" / "schemas"
PUBLISHED: Mapping[str, type[Document]] = {
    "monitoring_report": ReportDocument,
    "retraining_summary": SummaryDocument,
}


def path(name: str) -> Path:
    """Return the file of a schema."""
    return FOLDER / f"{name}.schema.json"


def content(document: type[Document]) -> str:
    """Return the text of a schema."""
    return json.dumps(document.json_schema(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, document in PUBLISHED.items():
        path(name).write_text(content(document), encoding="utf-8")
