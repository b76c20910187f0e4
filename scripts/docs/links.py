"""Checks the built site: links lead somewhere, pages load nothing from elsewhere, and code is code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

__all__ = ["find_problems"]

# Attributes that make a browser load something; a link in the text does not.
_LOADS: Final = {
    "audio": ("src",), "embed": ("src",), "iframe": ("src",), "image": ("href", "xlink:href"),
    "img": ("src", "srcset"), "input": ("src",), "object": ("data",), "script": ("src",),
    "source": ("src", "srcset"), "track": ("src",), "use": ("href", "xlink:href"), "video": ("src", "poster"),
}  # fmt: skip
_LOADING_RELATIONS: Final = {
    "stylesheet",
    "preload",
    "prefetch",
    "preconnect",
    "dns-prefetch",
    "icon",
    "manifest",
}
_ESCAPED_CODE: Final = re.compile(r"<td[^>]*>(?:(?!</td>).)*?<code>([^<]*\\\|[^<]*)</code>", re.DOTALL)
_NESTED_QUOTES: Final = re.compile(r"<blockquote>\s*<blockquote>")
_STYLE_URL: Final = re.compile(r"""(?:url\(\s*["']?|@import\s+["'])([^"')\s]+)""")


class _Page(HTMLParser):
    """The ids, links and loaded addresses of one page."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self._in_style = False
        self.mistakes: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.ids.update(values[name] for name in ("id", "name") if name in values)
        self._in_style = tag == "style"
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag == "link" and _LOADING_RELATIONS & set(values.get("rel", "").split()):
            self.loads.append(values.get("href", ""))
        self.loads += [values[name].split()[0] for name in _LOADS.get(tag, ()) if values.get(name)]
        self.loads += _STYLE_URL.findall(values.get("style", ""))

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self.loads += _STYLE_URL.findall(data)

    def handle_endtag(self, tag: str) -> None:
        self._in_style = False


def _read_page(path: Path) -> _Page:
    page = _Page()
    text = path.read_text(encoding="utf-8")
    page.feed(text)
    page.mistakes = [f"shows the backslash of \\| in {code}" for code in _ESCAPED_CODE.findall(text)]
    if _NESTED_QUOTES.search(text):
        page.mistakes.append("quotes within quotes, such as an example that is not code")
    return page


def find_problems(site: Path) -> list[str]:
    """What is wrong with the pages and style sheets in a folder, one line each."""
    pages = {path.resolve(): _read_page(path) for path in sorted(site.rglob("*.html"))}
    found: list[str] = []
    for path, page in pages.items():
        where = path.relative_to(site.resolve()).as_posix()
        found += [f"{where}: {problem}" for problem in _link_problems(path, page, pages, site.resolve())]
        found += [f"{where}: loads {url}" for url in page.loads if _is_elsewhere(url)]
        found += [f"{where}: {mistake}" for mistake in page.mistakes]
    for sheet in sorted(site.rglob("*.css")):
        loads = _STYLE_URL.findall(sheet.read_text(encoding="utf-8"))
        found += [f"{sheet.relative_to(site).as_posix()}: loads {url}" for url in loads if _is_elsewhere(url)]
    return found


def _is_elsewhere(url: str) -> bool:
    parts = urlsplit(url)
    return bool(parts.netloc) or parts.scheme not in ("", "data")


def _link_problems(path: Path, page: _Page, pages: dict[Path, _Page], site: Path) -> Iterator[str]:
    # The page "not found" is served for any address, so its links begin at the root of the site.
    for link in [*page.links, *(url for url in page.loads if not url.startswith("data:"))]:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        start = site if parts.path.startswith("/") else path.parent
        target = (start / unquote(parts.path).lstrip("/")).resolve() if parts.path else path
        if target.is_dir():
            target /= "index.html"
        if not target.is_file():
            yield f"{link} leads nowhere"
        elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids:
            yield f"{link}: no such anchor"
