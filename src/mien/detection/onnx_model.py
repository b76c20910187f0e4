"""A model in an ONNX file, run by ONNX Runtime on the CPU."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Shaped

from mien.documents import read_bytes
from mien.errors import EngineDownError, EngineError, WeightsError, first_line

__all__ = ["Arrays", "OnnxModel"]

_MAX_BYTES: Final = 2**31  # of a file; ONNX cannot hold more

Arrays = Mapping[str, np.ndarray]  # outputs by name, without the batch axis


class OnnxModel:
    """The model of a file, which is read at once; ONNX Runtime is imported and started when it is needed.

    Args:
        file: The ONNX file, with its weights inside.
        noun: What messages call the model.
        num_threads: Threads of one call. ONNX Runtime would take all cores.

    Raises:
        WeightsError: The file cannot be read.
    """

    def __init__(self, file: Path, *, noun: str = "model", num_threads: int = 1) -> None:
        self.path = file.expanduser()
        self._content = _read(self.path)
        self.digest: Final = hashlib.sha256(self._content).hexdigest()
        self._noun = noun
        self._num_threads = num_threads

    @property
    def name(self) -> str:
        """The name of the file, without its suffix."""
        return self.path.stem

    @property
    def input_shape(self) -> tuple[int | str, ...]:
        """The shape of the input, with names for lengths that vary; empty if there are several inputs."""
        inputs = self._session.get_inputs()
        return tuple(inputs[0].shape) if len(inputs) == 1 else ()

    @property
    def input_type(self) -> str:
        """The type of the first input, such as "tensor(float)"."""
        return str(self._session.get_inputs()[0].type)

    @property
    def outputs(self) -> Mapping[str, list[Any]]:
        """The shapes of the outputs by name."""
        return {output.name: output.shape for output in self._session.get_outputs()}

    def run(self, values: Shaped[np.ndarray, "1 ..."]) -> Arrays:
        """The outputs for one item; EngineError if the model fails on it. For several threads at once."""
        names = [*self.outputs]
        try:
            results = self._session.run(names, {self._session.get_inputs()[0].name: values})
        except Exception as error:  # the library has no common base of its errors
            raise EngineError(
                f"the {self._noun} {self.name} failed: {first_line(error)}", hint="check the model file"
            ) from error
        return {name: result[0] for name, result in zip(names, results, strict=True)}

    def require_finite(self, *values: np.ndarray) -> None:
        """Raises EngineError if one of these values, which were read from outputs, is not a finite number."""
        if not all(np.isfinite(array).all() for array in values):
            raise EngineError(
                f"the outputs of {self.name} are not finite", hint="the model may be damaged; copy it again"
            )

    def load(self) -> None:
        """Starts ONNX Runtime now.

        Raises:
            WeightsError: The file is not a model that can be run.
            EngineDownError: ONNX Runtime is not installed.
        """
        _ = self._session

    @cached_property
    def _session(self) -> Any:
        """From the bytes that the digest is of; so weights in other files are not found."""
        try:
            import onnxruntime
        except ImportError as error:
            raise EngineDownError(
                f"the {self._noun} {self.path.name} needs ONNX Runtime: {first_line(error)}",
                hint='install it with: pip install "mien[onnx]"',
            ) from error
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = self._num_threads
        settings.log_severity_level = 3  # errors
        try:
            session = onnxruntime.InferenceSession(
                self._content, settings, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # the library has no common base of its errors
            raise WeightsError(
                f"{self.path} is not an ONNX model that can be run: {first_line(error)}",
                hint="copy the file again; its weights must be inside of it",
            ) from error
        self._content = b""
        return session


def _read(path: Path) -> bytes:
    try:
        return read_bytes(path, max_bytes=_MAX_BYTES)
    except OSError as error:
        raise WeightsError(
            f"{path} cannot be read: {error.strerror}", hint="give the path of an ONNX file"
        ) from error
