"""The engine inside a process of a cluster, and the form in which requests travel to it.

Errors of mien come back as values, because Ray wraps exceptions in its own.
"""

from __future__ import annotations

import os
import platform
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from PIL import Image
from pydantic import JsonValue

from mien.describe.engine import Engine, Reply, Request
from mien.errors import ClusterError, EngineError, MienError
from mien.startup import pause_collector_during_imports
from mien.types import Box

__all__ = ["PackedRequest", "Worker", "pack"]

# Subject id, prompt, boxes, and images: as arrays of pixels where those hold everything.
PackedRequest = tuple[str, str, tuple[Box | None, ...], list[Any]]


class Worker:
    """Holds the engine: opens it at the first handshake, and the engine loads its model at the first batch.

    Args:
        open_engine: opens the engine in this process. It must be picklable.
        num_threads: threads for the model's library; None leaves its default.
        is_process: whether the process is the worker's own, so that it may be set up for it.
    """

    def __init__(
        self,
        open_engine: Callable[[], Engine],
        num_threads: int | None = None,
        *,
        is_process: bool = False,
    ) -> None:
        self._open_engine = open_engine
        if is_process:
            pause_collector_during_imports()
        if num_threads is not None:
            os.environ["OMP_NUM_THREADS"] = str(num_threads)  # read when the model's library is imported

    @cached_property
    def _engine(self) -> tuple[Engine, threading.Semaphore]:
        """The engine and a semaphore for its calls, created by the handshake before calls run in parallel."""
        engine = self._open_engine()
        return engine, threading.Semaphore(engine.calls_at_once)

    def handshake(self, signature: Mapping[str, JsonValue]) -> MienError | None:
        """Checks that this engine has the signature from which the keys of the descriptions are made."""
        try:
            engine, _ = self._engine
            if dict(engine.signature) == dict(signature):
                return None
        except MienError as error:
            return error
        return ClusterError(
            f"engine {engine.name} on {platform.node()} is not the requested one: its model or version "
            "differs",
            hint="install the same weights and the same version of mien on every node",
        )

    def describe(self, requests: list[PackedRequest]) -> list[Reply | EngineError] | MienError:
        """Same as `Engine.describe`; calls beyond what the engine takes at once wait."""
        try:
            engine, semaphore = self._engine
            unpacked = [_unpack(*request) for request in requests]
            with semaphore:
                return list(engine.describe(unpacked))
        except MienError as error:
            return error


def pack(requests: Sequence[Request]) -> list[PackedRequest]:
    """Prepares requests for a worker: arrays pass through shared memory, PIL images are copied repeatedly."""
    import numpy as np

    return [
        (
            request.subject_id,
            request.prompt,
            request.boxes,
            [np.asarray(image) if image.mode in ("RGB", "L") else image for image in request.images],
        )
        for request in requests
    ]


def _unpack(subject_id: str, prompt: str, boxes: tuple[Box | None, ...], pixels: Sequence[Any]) -> Request:
    images = (image if isinstance(image, Image.Image) else Image.fromarray(image) for image in pixels)
    return Request(subject_id=subject_id, prompt=prompt, images=tuple(images), boxes=boxes)
