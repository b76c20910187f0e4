"""Collects the pages of the site: docs/, pages in the root of the repository, and the generated reference.

Links out of docs/ are rewritten: to the page of the site if the target is one, else to a copy of the file. A
generated page is only on the site, and so are links to it: `<!-- site: TARGET -->words<!-- /site -->`.
"""

from __future__ import annotations

import posixpath
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

__all__ = ["ROOT_PAGES", "PageError", "collect_pages", "link_generated", "rewrite_links"]

# Pages outside of docs/, and their names in the site.
ROOT_PAGES: Final[Mapping[str, str]] = {
    "README.md": "overview.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "RESPONSIBLE_USE.md": "responsible-use.md",
    "SECURITY.md": "security.md",
}
FILES: Final = "files"  # copies of linked files other than pages

_LINK = re.compile(r"(?P<start>\]\()(?P<target>[^()\s]+)(?P<end>\))")
_SITE_LINK = re.compile(r"<!-- site: (?P<target>\S+) -->(?P<words>.+?)<!-- /site -->", re.DOTALL)
_CODE = re.compile(r"(^[ ]*(`{3,})[^\n]*\n.*?^[ ]*\2[ ]*$|`[^`\n]+`)", re.MULTILINE | re.DOTALL)


class PageError(Exception):
    """A page that cannot become a page of the site."""


def collect_pages(root: Path, generated: Mapping[str, str], out: Path) -> None:
    """Writes all pages and the files that they link to.

    Args:
        root: The repository.
        generated: Markdown by path in the site.
        out: The folder of Markdown that the site is built from; emptied first.

    Raises:
        PageError: A link leads nowhere, or a generated page replaces a written one.
    """
    shutil.rmtree(out, ignore_errors=True)
    sources = {path.relative_to(root).as_posix(): path for path in sorted((root / "docs").rglob("*.*"))}
    pages = {name: name.removeprefix("docs/") for name in sources} | dict(ROOT_PAGES)
    if both := set(generated) & set(pages.values()):
        raise PageError(f"generated and written: {', '.join(sorted(both))}")
    for name, target in pages.items():
        place = out / target
        place.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".md"):
            text, files = rewrite_links((root / name).read_text(encoding="utf-8"), name, pages, root)
            place.write_text(link_generated(text, target, generated), encoding="utf-8")
            for file in files:
                copy = out / FILES / file
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(root / file, copy)
        else:
            shutil.copyfile(root / name, place)
    for target, text in generated.items():
        place = out / target
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")


def link_generated(text: str, place: str, generated: Mapping[str, str]) -> str:
    """The text of a page with links to generated pages.

    Args:
        text: Markdown.
        place: Path of the page in the site.
        generated: The generated pages, by path in the site.
    """

    def link(match: re.Match[str]) -> str:
        target = match["target"].partition("#")[0]
        if posixpath.normpath(posixpath.join(posixpath.dirname(place), target)) not in generated:
            raise PageError(f"{place}: no generated page at {target}")
        return f"[{match['words']}]({match['target']})"

    return _SITE_LINK.sub(link, text)


def rewrite_links(text: str, name: str, pages: Mapping[str, str], root: Path) -> tuple[str, set[str]]:
    """The text of a page with links as the site needs them, and the files to copy.

    Args:
        text: Markdown.
        name: Path of the page in the repository.
        pages: Path in the site by path in the repository.
        root: The repository.
    """
    files: set[str] = set()
    here = posixpath.dirname(pages[name])

    def rewrite(match: re.Match[str]) -> str:
        target, hash_, anchor = match["target"].partition("#")
        if not target or "://" in target or target.startswith("mailto:"):
            return match[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
        if path in pages:
            place = pages[path]
        elif (root / path).is_file() and not path.startswith("../"):
            files.add(path)
            place = f"{FILES}/{path}"
        else:
            raise PageError(f"{name}: no file or page at {target}")
        return f"{match['start']}{posixpath.relpath(place, here or '.')}{hash_}{anchor}{match['end']}"

    parts = _CODE.split(text)
    # The expression has two groups, so every third part, from the first on, is not code.
    kept = [_LINK.sub(rewrite, part) if index % 3 == 0 else part for index, part in enumerate(parts)]
    return "".join(part for index, part in enumerate(kept) if index % 3 != 2), files
