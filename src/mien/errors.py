"""All errors that mien raises on purpose, as one tree.

An error has a message (what happened, with which value), a hint (what to do), an exit code, and `retryable`.

    MienError               1  anything unexpected
    |-- UsageError          2  the command line or a call is wrong
    |   `-- UnknownNameError   a name is not in its table; the hint has the nearest one
    |-- ConfigError         2  the recipe is wrong
    |   `-- DivergedError      a training does not converge: its loss explodes or is not finite
    |-- ItemsFailedError    3  the work is finished, but some items failed
    |-- DataError           4  data are missing or invalid
    |   |-- ImageError         a file cannot be read as an image
    |   |   `-- ClipError         a file cannot be read as a clip
    |   |-- BoxError           a box is empty, not finite, or outside its image
    |   |-- ManifestError      a list of samples cannot be read
    |   |-- RunError           a folder is not a run directory, or holds a different run
    |   |   |-- RunLockedError    another process writes to the run (retryable)
    |   |   `-- DamagedError      a file of a run has changed or is damaged
    |   `-- StoreError         a store of descriptions cannot be used
    |       |-- StoreLockedError   another process writes to the store (retryable)
    |       `-- DamagedStoreError  bits of a store have changed, or a part of it is lost
    |-- WeightsError        5  weights are not available
    |-- EngineError         6  an engine or a device failed (some are retryable)
    |   `-- EngineDownError    an engine cannot handle any request
    `-- ClusterError        6  the machines that engines run on failed
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
    "DamagedStoreError",
    "DataError",
    "DivergedError",
    "EngineDownError",
    "EngineError",
    "ImageError",
    "ItemsFailedError",
    "ManifestError",
    "MienError",
    "RunError",
    "RunLockedError",
    "StoreError",
    "StoreLockedError",
    "UnknownNameError",
    "UsageError",
    "WeightsError",
    "first_line",
    "nearest_hint",
    "unknown_name",
]

# A longer list of valid names would hide the nearest one.
_MAX_NAMES = 30

# Characters of a foreign message: some list every model they know, or show their whole input.
_MAX_LINE = 400


class MienError(Exception):
    """Base class of all errors that mien raises on purpose.

    Attributes:
        hint: What to do, in the imperative; empty if unknown. `str(error)` is the message without the hint.
        exit_code: Exit code of a command that ends with this error.
        retryable: Whether trying again may help.
    """

    exit_code: ClassVar[int] = 1
    retryable: bool = False

    def __init__(self, message: str, *, hint: str = "") -> None:
        # Only the message goes into `args`, so that every subclass can be pickled between processes.
        super().__init__(message)
        self.hint = hint


class UsageError(MienError):
    """The command line or a call is wrong."""

    exit_code = 2


class UnknownNameError(UsageError):
    """A name is not in its table; build it with `unknown_name`, which suggests the nearest valid name."""


class ConfigError(MienError):
    """The recipe, or an override of it, is wrong."""

    exit_code = 2


class DivergedError(ConfigError):
    """A training does not converge: its loss explodes, or is not finite."""


class ItemsFailedError(MienError):
    """The work is finished and saved, but some items failed."""

    exit_code = 3


class DataError(MienError):
    """Data are missing or invalid."""

    exit_code = 4


class ImageError(DataError):
    """A file cannot be read as an image."""


class ClipError(ImageError):
    """A file cannot be read as a clip."""


class BoxError(DataError):
    """A box is empty, not finite, or outside its image."""


class ManifestError(DataError):
    """A list of samples cannot be read."""


class RunError(DataError):
    """A folder is not a run directory, or holds a different run."""


class RunLockedError(RunError):
    """Another process writes to the run."""

    retryable = True


class DamagedError(RunError):
    """A file of a run has changed or is damaged."""


class StoreError(DataError):
    """A store of descriptions cannot be used."""


class StoreLockedError(StoreError):
    """Another process writes to the store."""

    retryable = True


class DamagedStoreError(StoreError):
    """Bits of a store have changed, or a part of it is lost."""


class WeightsError(MienError):
    """Weights are not available here."""

    exit_code = 5


class EngineError(MienError):
    """An engine, its model or its device failed; `retryable` is set per instance."""

    exit_code = 6

    def __init__(self, message: str, *, hint: str = "", retryable: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.retryable = retryable


class EngineDownError(EngineError):
    """An engine cannot handle any request: its device, library or server is missing. Not an item's fault."""


class ClusterError(MienError):
    """The machines that engines run on failed. Not an item's fault; other items would fail as well."""

    exit_code = 6


def first_line(error: BaseException, *, with_type: bool = False) -> str:
    """The first line of a foreign exception's message, cut if it is long; some libraries add pages.

    Args:
        error: The exception. The result is the name of its type if it has no message.
        with_type: Prefix the message with the name of the type.
    """
    lines = str(error).strip().splitlines()
    name = type(error).__name__
    if not lines:
        return name
    line = lines[0] if len(lines[0]) <= _MAX_LINE else f"{lines[0][:_MAX_LINE]} ..."
    return f"{name}: {line}" if with_type else line


def nearest_hint(name: str, known: Iterable[str], *, kind: str = "names") -> str:
    """A hint with the nearest valid name, if one is close, and all valid names.

    Args:
        name: The unknown name.
        known: The valid names.
        kind: What they are, in the plural, such as "splits".
    """
    names = list(known)
    by_folded = {candidate.casefold(): candidate for candidate in names}
    close = difflib.get_close_matches(name.casefold(), list(by_folded), n=1)
    guess = f"did you mean {by_folded[close[0]]!r}? " if close else ""
    if not names:
        return f"{guess}there are no valid {kind}"
    shown = ", ".join(names[:_MAX_NAMES])
    rest = len(names) - _MAX_NAMES
    return f"{guess}valid {kind}: {shown}" + (f", and {rest} more" if rest > 0 else "")


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """The error for a `name` of this `kind`, such as "engine", that is not one of the `known` names."""
    return UnknownNameError(f"unknown {kind} {name!r}", hint=nearest_hint(name, known))
