"""Serves the page: its files as they are, under a strict content policy, and its examples.

All of it is the same for everyone and holds no data, so it needs no token. What the page sends does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Final

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mien.serve.page.examples import EXAMPLES, draw_example, title_of

__all__ = ["PAGE_PATHS", "POLICY", "add_page"]

# Scripts, styles and requests only of this service; images also of the visitor's own files. Trusted types
# keep scripts from parsing HTML.
POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_INDEX: Final = "index.html"
_STATIC: Final[Mapping[str, bytes]] = {
    file.name: file.read_bytes() for file in (files("mien.serve.page") / "static").iterdir()
}


def _path_of(name: str) -> str:
    return "/" if name == _INDEX else f"/page/{name}"


def _example_path(number: int) -> str:
    return f"/page/examples/{number}.png"


PAGE_PATHS: Final = frozenset(
    (*map(_path_of, _STATIC), "/page/examples.json", *map(_example_path, range(len(EXAMPLES))))
)


def add_page(app: FastAPI) -> None:
    """Adds the page at /, with all that it loads below /page; none of it is in the OpenAPI document."""
    for name, content in _STATIC.items():
        _add(app, _path_of(name), _fixed(content, _TYPES[name[name.rindex(".") :]]))
    _add(app, "/page/examples.json", _list_examples)
    for number in range(len(EXAMPLES)):
        _add(app, _example_path(number), _example(number))


def _add(app: FastAPI, path: str, endpoint: Callable[[Request], Response]) -> None:
    # Not asynchronous, so that starlette draws examples in another thread.
    app.router.routes.append(Route(path, endpoint, methods=["GET"], include_in_schema=False))


def _fixed(content: bytes, media_type: str) -> Callable[[Request], Response]:
    headers = {"content-security-policy": POLICY, "cross-origin-opener-policy": "same-origin"}

    def respond(request: Request) -> Response:
        return Response(content, headers=headers, media_type=media_type)

    return respond


def _list_examples(request: Request) -> Response:
    # Relative, so that the page also works behind a proxy that adds a prefix.
    return JSONResponse(
        [
            {"file": _example_path(number).removeprefix("/"), "title": title_of(scene)}
            for number, scene in enumerate(EXAMPLES)
        ]
    )


def _example(number: int) -> Callable[[Request], Response]:
    def respond(request: Request) -> Response:
        return Response(draw_example(number), media_type="image/png")

    return respond
