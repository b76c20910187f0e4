"""The README's tree is the real tree."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "mien"


def drawn_tree() -> dict[str, set[str]]:
    """The names under src/mien/ in the README: a module, or a room with its modules in brackets.

    types.py     values
    data/        who is where   [dataset manifest]
    """
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"```text\nsrc/mien/\n(.*?)```", readme, re.DOTALL)
    assert block is not None, "the README has no ```text block that begins with src/mien/"
    tree: dict[str, set[str]] = {}
    for line in block.group(1).splitlines():
        name = line.split()[0]
        inside = re.search(r"\[(.*)\]", line)
        tree[name] = set(inside.group(1).split()) if inside else set()
    return tree


def real_tree() -> dict[str, set[str]]:
    tree: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).parts
        if len(parts) == 1 and not path.name.startswith("__"):
            tree[path.name] = set()
        elif len(parts) > 1:
            room = tree.setdefault(f"{parts[0]}/", set())
            inner = path.stem if len(parts) == 2 else f"{parts[1]}/"
            room |= set() if path.name == "__init__.py" and len(parts) == 2 else {inner}
    return tree


def test_the_tree_in_the_readme_is_the_real_one() -> None:
    assert drawn_tree() == real_tree()
