"""The notebook of the documentation: `python -m scripts.site.notebook` runs it in a copy of the project.

The cells run in one namespace, as in Jupyter, and need no Jupyter. Their outputs are saved in the file.
"""

import ast
import io
import json
import os
import shutil
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
NOTEBOOK = REPOSITORY / "docs/notebook.ipynb"
Notebook = dict[str, Any]


def read() -> Notebook:
    """Return the notebook as a document, see https://nbformat.readthedocs.io/en/latest/format_description.html."""
    document: Notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return document


def execute(notebook: Notebook) -> None:
    """Run the code cells in order, in the current folder, and replace their outputs.

    Raises
    ------
    Exception
        That of the first cell that fails; the outputs of later cells stay.
    """
    names: dict[str, Any] = {}
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for count, cell in enumerate(cells, 1):
        printed = io.StringIO()
        with redirect_stdout(printed):
            value = _run("".join(cell["source"]), names)
        cell["execution_count"] = count
        cell["outputs"] = _outputs(printed.getvalue(), value, count)


def _run(source: str, names: dict[str, Any]) -> object:
    """Run the lines of a cell, and return the value of the last one if it is an expression."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<cell>", "exec"), names)
    return eval(compile(ast.Expression(last.value), "<cell>", "eval"), names) if last else None


def _outputs(printed: str, value: object, count: int) -> list[dict[str, Any]]:
    outputs: list[dict[str, Any]] = []
    if printed:
        outputs.append({"output_type": "stream", "name": "stdout", "text": printed.splitlines(keepends=True)})
    if value is not None:
        data = {"text/plain": repr(value).splitlines(keepends=True)}
        outputs.append({"output_type": "execute_result", "execution_count": count, "metadata": {}, "data": data})
    return outputs


def page() -> str:
    """Return the notebook as a page in Markdown."""
    text = ""
    for cell in read()["cells"]:
        source = "".join(cell["source"])
        text += (source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```") + "\n\n"
        for output in cell.get("outputs", ()):
            shown = "".join(output["text"] if output["output_type"] == "stream" else output["data"]["text/plain"])
            text += f"```text\n{shown.rstrip()}\n```\n\n"
    return text


def main() -> None:
    """Run the notebook in a copy of the project with the repository's data, and save its outputs."""
    notebook = read()
    with TemporaryDirectory() as folder:
        shutil.copy(REPOSITORY / "config.yaml", folder)
        shutil.copytree(REPOSITORY / "data", Path(folder, "data"))
        os.chdir(folder)
        execute(notebook)
        os.chdir(REPOSITORY)
    NOTEBOOK.write_text(json.dumps(notebook, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
