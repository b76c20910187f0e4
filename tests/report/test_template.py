"""Templates: escaping, undefined variables, and packaging."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from mien import report
from mien.report.template import render_page

ROOT = Path(__file__).parents[2]


def test_an_undefined_variable_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="version"):
        render_page("base.html", {"facts": ()}, styles=("base.css",))


def test_values_are_escaped_and_styles_are_not() -> None:
    html = render_page("base.html", {"facts": (), "version": "<b>"}, styles=("base.css", "run/page.css"))
    assert html.startswith("<!DOCTYPE html>")
    assert "mien &lt;b&gt;" in html
    assert ".chart tr > :last-child" in html


def test_every_template_is_packaged() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    folder = Path(report.__path__[0])
    patterns = settings["tool"]["setuptools"]["package-data"]["mien.report"]
    packaged = {path for pattern in patterns for path in folder.glob(pattern)}
    files = {path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert packaged == {path for path in files if path.suffix != ".py"}
    assert len(packaged) > 8
