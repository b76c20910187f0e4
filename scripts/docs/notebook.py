"""Writes the tutorial as a notebook, build/tutorial.ipynb, and executes it on request.

    python -m scripts.docs.notebook [--execute FOLDER]

Text becomes Markdown cells; a recipe becomes a cell that writes it; commands become cells that run them in
the shell; Python becomes code. The notebook that is written has no output. With `--execute` it runs in that
folder, and a failure ends it.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import nbformat
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

__all__ = ["make_notebook"]

ROOT: Final = Path(__file__).parents[2]
TUTORIAL: Final = ROOT / "docs" / "tutorial.md"
_BLOCK: Final = re.compile(r"^```(\w+)\n(.*?)^```\n", re.MULTILINE | re.DOTALL)


def make_notebook(page: str) -> nbformat.NotebookNode:
    """The notebook of a page in Markdown."""
    cells = list(_cells(page))
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"  # random by default
    notebook = new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.validate(notebook)
    return notebook


def _cells(page: str) -> Iterator[nbformat.NotebookNode]:
    end = 0
    for match in _BLOCK.finditer(page):
        language, code = match.groups()
        if language == "text":  # what to expect stays in the text
            continue
        yield from _text(page[end : match.start()])
        end = match.end()
        if language == "console":
            lines = [line[2:] for line in code.splitlines() if line.startswith("$ ")]
            yield new_code_cell("\n".join(["%%bash", "set -e", *lines]))  # a failing line ends it
        elif language == "toml":
            yield new_code_cell(f"%%writefile tutorial.toml\n{code.rstrip()}")
        else:
            yield new_code_cell(code.rstrip())
    yield from _text(page[end:])


def _text(page: str) -> Iterator[nbformat.NotebookNode]:
    if page.strip():
        yield new_markdown_cell(page.strip())


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--execute", metavar="FOLDER", type=Path, help="run it in this folder, which is made if needed"
    )
    folder = parser.parse_args().execute
    notebook = make_notebook(TUTORIAL.read_text(encoding="utf-8"))
    out = ROOT / "build" / "tutorial.ipynb"
    out.parent.mkdir(exist_ok=True)
    nbformat.write(notebook, out)
    print(out.relative_to(ROOT))
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        # Its commands run in a shell, which is to find the mien of this environment.
        os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        NotebookClient(notebook, timeout=None, resources={"metadata": {"path": str(folder)}}).execute()
        print(f"executed {len(notebook.cells)} cells")
    return 0


if __name__ == "__main__":
    sys.exit(main())
