"""Opens the detector that a name or path stands for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from mien import registry
from mien.errors import ConfigError, unknown_name
from mien.predict.detect.detector import Detector, DetectorOptions
from mien.weights.model_folder import EMBEDDED

__all__ = ["NO_DETECTOR", "open_detector", "resolve_detector"]

NO_DETECTOR: Final = ("none", "whole")  # what users call taking the whole image
_ONNX: Final = ".onnx"


def open_detector(
    name_or_path: str | os.PathLike[str] = "transformers",
    options: DetectorOptions | None = None,
    *,
    device: str = "auto",
) -> Detector:
    """Opens a detector.

    Args:
        name_or_path: A registered name ("transformers" is its usual model, "whole" the whole image), the path
            of an ONNX file, the folder of an object-detection model, its name on the Hugging Face Hub
            (NAME@REVISION pins it), or "package.module:Class".
        options: Which boxes are returned.
        device: "cpu", "cuda", "cuda:1", "mps", or "auto" for the fastest that is available.

    Raises:
        UnknownNameError: No detector has this name.
        ConfigError: The name is not a detector, or an option is invalid.
        WeightsError: The model is not available.
        EngineError: A library or the device is not available.
    """
    name = os.fspath(name_or_path)
    kind, model = _kind_and_model(name)
    detector_class = registry.resolve("detector", kind)
    if not (isinstance(detector_class, type) and issubclass(detector_class, Detector)):
        raise ConfigError(
            f"detector {kind!r} is not a detector",
            hint="name a subclass of mien.predict.detect.detector.Detector",
        )
    return detector_class.open(model, options or DetectorOptions(), device=device)


def resolve_detector(detector: str | os.PathLike[str] | Detector | None, *, device: str) -> Detector | None:
    """An opened detector as it is, another one by `open_detector`; None stays None."""
    return (
        detector
        if detector is None or isinstance(detector, Detector)
        else open_detector(detector, device=device)
    )


def _kind_and_model(name: str) -> tuple[str, str | None]:
    """(name in the registry or package.module:Class, model)."""
    known = registry.registered_names("detector")
    if name in known:
        return name, None
    if name.lower().endswith(_ONNX):
        return "onnx", name
    if name == EMBEDDED or "/" in name or Path(name).expanduser().is_dir():
        return "transformers", name
    if ":" in name:
        return name, None
    error = unknown_name("detector", name, [*known, EMBEDDED])
    error.hint += "; or give a folder, a .onnx file, or a name on the Hugging Face Hub such as ORG/NAME"
    raise error
