"""Renders the HTML templates of this package.

Everything is escaped, and an undefined variable is an error. Pages load no other file, and their content
security policy forbids scripts and requests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

__all__ = ["render_page"]


def render_page(template: str, values: Mapping[str, object], *, styles: Sequence[str]) -> str:
    """Renders a template with these style sheets built in.

    Args:
        template: A file of this package, such as "run/page.html".
        styles: Style sheets of this package, in order.
    """
    environment = Environment(
        autoescape=True,
        loader=FunctionLoader(_read_resource),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = Markup("\n".join(_read_resource(name) for name in styles))  # noqa: S704 - our own files
    return environment.get_template(template).render({**values, "style": style})


def _read_resource(name: str) -> str:
    return resources.files(__package__).joinpath(*name.split("/")).read_text(encoding="utf-8")
