"""Pages of the repository for the site: the same paths, so the same links work in the repository and in the site.

GitHub reads CommonMark, and MkDocs uses Python-Markdown, which differs in lists, tables and the names of headings.
"""

import re
import shutil
from pathlib import Path

PAGES = ("*.md", "docs/*.md", "deploy/**/*.md", "data/*.md")
_LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")
_ITEM = re.compile(r"(?:[-*]|\d+\.) +")


def copy_pages(repository: Path, folder: Path) -> None:
    """Copy the pages, and the files and pictures that they link to, to the same paths of a folder."""
    for pattern in PAGES:
        for page in repository.glob(pattern):
            text = page.read_text(encoding="utf-8")
            for target in _LINK.findall(text):
                _copy(repository, folder, (page.parent / target).resolve())
            text = re.sub(r"\.ipynb(?=[#)])", ".md", text)
            write(folder / page.relative_to(repository), for_python_markdown(text))


def _copy(repository: Path, folder: Path, source: Path) -> None:
    if source.is_file() and source.suffix not in (".md", ".ipynb"):
        target = folder / source.relative_to(repository)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def write(path: Path, text: str) -> None:
    """Write a page, in a folder that need not exist."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def for_python_markdown(text: str) -> str:
    r"""Return CommonMark in the form that Python-Markdown reads in the same way.

    A list has an empty line before it, the content of its items is indented by four, and code in a table has plain
    vertical bars.

    >>> for_python_markdown("Two:\n- one\n\n  more\n- two\n")
    'Two:\n\n- one\n\n    more\n- two\n'
    >>> for_python_markdown("| `a \\| b` |")
    '| `a | b` |\n'
    """
    lines: list[str] = []
    indent, fenced = 0, False
    for line in text.splitlines():
        if not fenced and (item := _ITEM.match(line)):
            if not indent and lines and lines[-1]:
                lines.append("")
            indent = len(item[0])
        elif indent and line.startswith(" " * indent):
            line = "    " + line[indent:]
        elif line:
            indent = 0
        if not fenced and line.startswith("|"):
            line = re.sub(r"`[^`]+`", lambda code: code[0].replace(r"\|", "|"), line)
        if line.lstrip().startswith("```"):
            fenced = not fenced
        lines.append(line)
    return "\n".join(lines) + "\n"


def anchor(heading: str, separator: str) -> str:
    """Return the name of a heading in links, as GitHub makes it.

    >>> anchor("When: the `policy`", "-")
    'when-the-policy'
    """
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", separator)
