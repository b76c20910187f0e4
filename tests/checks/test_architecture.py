"""The tree in docs/architecture.md is the real tree."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "mien"


def documented_tree() -> dict[str, set[str]]:
    """Modules and packages of src/mien in docs/architecture.md; sub-packages in brackets.

    types.py     values
    data/        who is in which image   [emotic caers]
    """
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    block = re.search(r"```text\nsrc/mien/\n(.*?)```", page, re.DOTALL)
    assert block is not None, "docs/architecture.md has no ```text block that begins with src/mien/"
    tree: dict[str, set[str]] = {}
    for line in block.group(1).splitlines():
        inside = re.search(r"\[(.*)\]", line)
        tree[line.split()[0]] = set(inside.group(1).split()) if inside else set()
    return tree


def real_tree() -> dict[str, set[str]]:
    tree: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).parts
        if len(parts) == 1:
            if not path.name.startswith("__"):
                tree[path.name] = set()
        else:
            tree.setdefault(f"{parts[0]}/", set()).update(parts[1:-1])
    return tree


def test_the_documented_tree_is_the_real_one() -> None:
    assert documented_tree() == real_tree()
