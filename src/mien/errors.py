"""The errors of mien: everything a user can cause or meet, as one tree.

Goes in: a message that says what happened and with which value, and a hint that says what to do.
Comes out: an exception that carries its exit code and whether trying again may help.
Knows nothing about: printing, logging, or the libraries whose exceptions it stands in for.

    MienError               1  anything unexpected
    |-- UsageError          2  the command line or a call is wrong
    |   `-- UnknownNameError   a name that no table holds; names the nearest
    |-- ConfigError         2  the recipe is wrong
    |   `-- DivergedError      a training by it does not converge: its loss explodes or is not finite
    |-- ItemsFailedError    3  the work is finished, some items failed
    |-- DataError           4  data are missing or invalid
    |   |-- ImageError         a file is not a picture that can be shown
    |   |   `-- ClipError         a file is not a clip whose frames can be shown
    |   |-- BoxError           a box is empty, not finite, or outside its picture
    |   |-- ManifestError      a list of samples cannot be read
    |   |-- RunError           a folder is not a run, or its run does not fit
    |   |   `-- DamagedError      a file of a run is not what was written
    |   `-- StoreError         a store of descriptions cannot be used
    |       `-- StoreLockedError   another process writes to it (retryable)
    |-- WeightsError        5  weights are not available
    |-- EngineError         6  a describing engine or a device failed (retryable if it says so)
    |   `-- EngineDownError    the engine cannot work at all, whatever it is asked
    `-- ClusterError        6  the machines that engines run on failed, whatever they were asked
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar

__all__ = [
    "BoxError",
    "ClipError",
    "ClusterError",
    "ConfigError",
    "DamagedError",
    "DataError",
    "DivergedError",
    "EngineDownError",
    "EngineError",
    "ImageError",
    "ItemsFailedError",
    "ManifestError",
    "MienError",
    "RunError",
    "StoreError",
    "StoreLockedError",
    "UnknownNameError",
    "UsageError",
    "WeightsError",
    "nearest_hint",
    "unknown_name",
]

# Beyond this many, a list of valid names hides the nearest one instead of showing it.
_MAX_NAMES_SHOWN = 30


class MienError(Exception):
    """Root of all errors that mien raises on purpose; `str(error)` is the message without the hint."""

    exit_code: ClassVar[int] = 1
    retryable: bool = False

    def __init__(self, message: str, *, hint: str = "") -> None:
        # Only the message goes into `args`, so that every subclass survives pickling between processes.
        super().__init__(message)
        self.hint = hint


class UsageError(MienError):
    """The command line or a call is wrong."""

    exit_code = 2


class UnknownNameError(UsageError):
    """A name that no table holds; build it with `unknown_name`, which finds the nearest valid one."""


class ConfigError(MienError):
    """The recipe, or an override of it, is wrong."""

    exit_code = 2


class DivergedError(ConfigError):
    """A training by this recipe does not converge: its loss explodes, or is not finite."""


class ItemsFailedError(MienError):
    """The work is finished and kept, but some items failed."""

    exit_code = 3


class DataError(MienError):
    """Data are missing or invalid."""

    exit_code = 4


class ImageError(DataError):
    """A file is not a picture that can be shown to a model."""


class ClipError(ImageError):
    """A file is not a clip whose frames can be shown to a model."""


class BoxError(DataError):
    """A box is empty, not finite, or outside its picture."""


class ManifestError(DataError):
    """A list of samples cannot be read."""


class RunError(DataError):
    """A folder is not a run directory, or the run in it does not fit what is asked."""


class DamagedError(RunError):
    """A file of a run is not what was written there."""


class StoreError(DataError):
    """A store of descriptions cannot be used."""


class StoreLockedError(StoreError):
    """Another process writes to the store."""

    retryable = True


class WeightsError(MienError):
    """Weights are not available here."""

    exit_code = 5


class EngineError(MienError):
    """An engine, the model behind it or its device failed; `retryable` is told per instance."""

    exit_code = 6

    def __init__(self, message: str, *, hint: str = "", retryable: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.retryable = retryable


class EngineDownError(EngineError):
    """An engine that cannot work at all: no device, library or server. No item is to blame for it."""


class ClusterError(MienError):
    """The machines that engines run on failed: no item is to blame, and the others would fare no better."""

    exit_code = 6


def nearest_hint(name: str, known: Iterable[str], *, kind: str = "names") -> str:
    """The valid name nearest to `name`, if one is close, and all valid names. `kind`: their plural."""
    names = list(known)
    by_folded = {candidate.casefold(): candidate for candidate in names}
    close = difflib.get_close_matches(name.casefold(), list(by_folded), n=1)
    guess = f"did you mean {by_folded[close[0]]!r}? " if close else ""
    if not names:
        return f"{guess}there are no valid {kind} here"
    shown = ", ".join(names[:_MAX_NAMES_SHOWN])
    rest = len(names) - _MAX_NAMES_SHOWN
    return f"{guess}valid {kind}: {shown}" + (f", and {rest} more" if rest > 0 else "")


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """The error for a `name` of this `kind` (such as "engine") that is not among the `known` ones."""
    return UnknownNameError(f"unknown {kind} {name!r}", hint=nearest_hint(name, known))
