"""An extension of Griffe, which reads docstrings: sections "Example" become code, as "Examples" do.

Without it, "Example" is an admonition, whose lines with >>> become nested quotes.
"""

from __future__ import annotations

import re
from typing import Any

import griffe  # type: ignore[import-not-found]  # of the environment that builds the site

__all__ = ["ExampleSections", "name_sections"]


class ExampleSections(griffe.Extension):  # type: ignore[misc]
    """Renames the sections of every object."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Is called by Griffe once per object."""
        if obj.docstring is not None:
            obj.docstring.value = name_sections(obj.docstring.value)


def name_sections(docstring: str) -> str:
    """The docstring with its sections "Example" called "Examples"."""
    return re.sub(r"^Example:$", "Examples:", docstring, flags=re.MULTILINE)
