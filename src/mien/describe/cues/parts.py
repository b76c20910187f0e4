"""The models of the engine `cues`: ONNX files, by path or on the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import JsonValue

from mien.detection.onnx_model import OnnxModel
from mien.errors import WeightsError
from mien.weights.model_folder import find_encoder_folder

__all__ = ["Part", "find_part"]

_SUFFIX: Final = ".onnx"
_HINT: Final = "give the path of an ONNX file, or ORG/NAME:FILE.onnx on the Hugging Face Hub"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A model, and where on the Hub it is from; None for files."""

    model: OnnxModel
    origin: Mapping[str, JsonValue] | None


def find_part(name: str, noun: str) -> Part:
    """Finds and reads the ONNX file of a part, and downloads it if needed.

    Args:
        name: FILE.onnx; a folder or a name on the Hugging Face Hub (NAME@REVISION pins it) with one ONNX
            file; or FOLDER:FILE.onnx or NAME:FILE.onnx, where there are several.
        noun: What messages call the part.

    Raises:
        WeightsError: The file is missing, or several could be meant.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return Part(model=OnnxModel(path, noun=noun), origin=None)
    home, _, file = name.rpartition(":")
    if not home or not file.endswith(_SUFFIX):
        home, file = name, ""
    if home.endswith(_SUFFIX):
        raise WeightsError(f"no {noun} at {name}", hint=_HINT)
    folder = find_encoder_folder(home, embedded_as="detector", patterns=(file or f"*{_SUFFIX}",))
    files = sorted(folder.path.glob(file or f"*{_SUFFIX}"))
    if len(files) != 1:
        shown = ", ".join(found.name for found in files) or "none"
        wanted = f"no {file}" if file else "more than one ONNX file" if files else "no ONNX file"
        raise WeightsError(
            f"{home} has {wanted} for the {noun}" + ("" if file else f": {shown}"),
            hint=f"name the file: {home}:FILE{_SUFFIX}" if files else _HINT,
        )
    return Part(model=OnnxModel(files[0], noun=noun), origin=folder.origin())
