"""The template engine of all pages: everything is escaped, a name that is not given is an error.

In: names of files beside this one. Out: a jinja2 environment, with the pages' style built in.
Knows nothing about what the pages show. They ask for no other file, and forbid themselves scripts and any
request.
"""

from __future__ import annotations

from importlib import resources

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

__all__ = ["environment"]


def environment(*styles: str) -> Environment:
    """For templates in this package; `style` stands for these style sheets, one after the other."""
    made = Environment(
        autoescape=True,
        loader=FunctionLoader(_resource),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["style"] = Markup("\n".join(_resource(name) for name in styles))  # noqa: S704  our own files
    return made


def _resource(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
