"""Build the documentation as a site: `make docs`.

    python -m scripts.site            # writes site/, which opens from the disk
    python -m scripts.site --check    # builds it in a temporary folder: `make lint`

A broken link, a missing heading and a page outside the navigation are errors.
"""

import argparse
import logging
import os
import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ["NO_MKDOCS_2_WARNING"] = "1"  # the theme's notice on MkDocs 2, which the lock file excludes

from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.exceptions import Abort
from scripts.site import notebook, paths, reference
from scripts.site.pages import copy_pages, write

REPOSITORY = Path(__file__).resolve().parents[2]
_LOADED = re.compile(r"<(?:script|img|link rel=\"(?:stylesheet|icon|preconnect)\")[^>]*(?:src|href)=\"?https?:[^>]*>")


def write_pages(folder: Path) -> None:
    """Write all pages of the site as Markdown."""
    copy_pages(REPOSITORY, folder)
    for name in ("iframe-worker.js", "site.css"):
        write(folder / "assets" / name, Path(__file__).with_name(name).read_text(encoding="utf-8"))
    write(folder / "docs/notebook.md", notebook.page())
    write(folder / "reference/commands.md", reference.commands())
    write(folder / "reference/settings.md", reference.settings())
    write(folder / "reference/python.md", reference.python())
    write(folder / "reference/paths.md", paths.page())


def build_site(site: Path) -> list[str]:
    """Build the site into a folder.

    Returns
    -------
    list[str]
        Elements of its pages that would load a file from elsewhere.

    Raises
    ------
    Abort
        If a link or a heading does not exist; the log names it.
    """
    with TemporaryDirectory() as folder:
        write_pages(Path(folder))
        build(load_config(str(REPOSITORY / "mkdocs.yml"), docs_dir=folder, site_dir=str(site), strict=True))
    return [match for page in site.rglob("*.html") for match in _LOADED.findall(page.read_text(encoding="utf-8"))]


def main() -> None:
    """Build the site, or check that it can be built."""
    parser = argparse.ArgumentParser(description="Build the documentation as a site.")
    parser.add_argument("--check", action="store_true", help="build it in a temporary folder")
    check = parser.parse_args().check
    logging.basicConfig(level=logging.WARNING, format="%(message)s")  # names each broken link
    with TemporaryDirectory() as folder:
        site = Path(folder) if check else REPOSITORY / "site"
        try:
            outside = build_site(site)
        except Abort as error:
            sys.exit(f"the site is not built: {error}")
        if outside:
            sys.exit("the site would load files from elsewhere:\n" + "\n".join(sorted(set(outside))))
    if not check:
        print(f"{site}/index.html")


if __name__ == "__main__":
    main()
