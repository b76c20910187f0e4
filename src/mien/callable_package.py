"""Packages that can be called: `mien.describe(recipe)` next to `mien.describe.engine`.

A step and the package that implements it have the same name. Importing any module of the package sets the
attribute `mien.describe` to the package, so the public function of that name must be the package itself.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType

__all__ = ["make_callable"]


class _CallablePackage(ModuleType):
    """A package whose call is a call of a function in another module, which is imported then."""

    __target__: tuple[str, str]

    def __call__(self, *args: object, **kwargs: object) -> object:
        module, name = self.__target__
        return getattr(import_module(module), name)(*args, **kwargs)

    @property
    def __wrapped__(self) -> object:
        """The function, for `help` and `inspect.signature`."""
        module, name = self.__target__
        return getattr(import_module(module), name)


def make_callable(package: str, target: str) -> None:
    """Makes a package callable.

    Args:
        package: The name of the package, its `__name__`.
        target: "module:function" that a call of the package calls.
    """
    module = sys.modules[package]
    module.__class__ = _CallablePackage
    name, _, function = target.partition(":")
    module.__target__ = (name, function)  # type: ignore[attr-defined]
