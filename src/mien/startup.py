"""The start of mien's own processes: standard streams are open, and garbage is not collected during imports.

Loading torch and transformers creates a million objects that stay. The collector would visit them again and
again, which takes a fifth of the time. A program that imports mien as a library keeps its collector as it is.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from threading import Lock
from types import ModuleType
from typing import Any, Final

__all__ = ["open_standard_streams", "pause_collector", "pause_collector_during_imports"]

# Objects, from which on it is worthwhile to exclude what was loaded from later collections.
_MANY: Final = 10_000


def open_standard_streams() -> None:
    """Opens the null device in place of closed standard streams, as after `mien ... 2>&-`.

    The next files that are opened, such as one that is being written, would take their numbers, and the
    messages of libraries would go into these files.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode, encoding="utf-8"))


def pause_collector_during_imports() -> None:
    """Pauses the garbage collector during each import in this process, also late ones, until it ends.

    What an import has loaded is excluded from later collections. Call this where a process begins, in a
    command or a worker; a second call does nothing.
    """
    if not any(isinstance(finder, _PausingFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _PausingFinder())


def pause_collector() -> AbstractContextManager[None]:
    """Pauses the collector where imports pause it, in mien's own processes; elsewhere it does nothing.

    For a short stretch that makes thousands of objects without cycles.
    """
    finders = (finder.pause for finder in sys.meta_path if isinstance(finder, _PausingFinder))
    return next(finders, nullcontext())


class _Pause(AbstractContextManager[None]):
    """A pause of the collector while any thread needs it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._was_enabled = True
        self.num_users = 0

    def __enter__(self) -> None:
        with self._lock:
            if not self.num_users:
                self._was_enabled = gc.isenabled()
            self.num_users += 1
            gc.disable()

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self.num_users -= 1
            if self._was_enabled and not self.num_users:
                if gc.get_count()[0] > _MANY:
                    gc.freeze()
                gc.enable()


class _PausingFinder(MetaPathFinder):
    """Lets the other finders find a module, and has it loaded in a pause, with all that it imports."""

    def __init__(self) -> None:
        self.pause = _Pause()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if self.pause.num_users:
            return None
        for finder in sys.meta_path:
            if finder is self:
                continue
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                if spec.loader is not None and hasattr(spec.loader, "exec_module"):
                    spec.loader = _PausingLoader(spec.loader, self.pause)
                return spec
        return None


class _PausingLoader(Loader):
    """Loads one module in a pause, and gives it its own loader back."""

    def __init__(self, loader: Loader, pause: _Pause) -> None:
        self._loader = loader
        self._pause = pause

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)  # for those who look at a spec without loading the module

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        with self._pause:
            self._loader.exec_module(module)
