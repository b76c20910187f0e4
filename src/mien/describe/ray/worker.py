"""The engine in a process of a cluster: what it is handed, and what it hands back.

Goes in: a recipe's options, then packed requests. Comes out: replies, or as values the errors of mien.
Knows nothing about: how the process is started or reached, stores, keys.
"""

from __future__ import annotations

import os
import platform
import threading
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from PIL import Image
from pydantic import JsonValue

from mien.describe.engine import Engine, Reply, Request, open_engine
from mien.errors import ClusterError, EngineError, MienError
from mien.recipe import DescribeOptions, RunOptions

__all__ = ["Packed", "Worker", "packed"]

# Subject, question, and pictures: arrays of pixels where those say all.
Packed = list[tuple[str, str, list[Any]]]


class Worker:
    """Holds the engine, which is opened with the first greeting and loaded with the first batch."""

    def __init__(self, options: DescribeOptions, run: RunOptions) -> None:
        self._options = options
        self._run = run.model_copy(update={"cluster": None})
        if run.threads is not None:
            os.environ["OMP_NUM_THREADS"] = str(run.threads)  # read when a model's library is imported

    @cached_property
    def _opened(self) -> tuple[Engine, threading.Semaphore]:
        """The engine, and its places; made by the greeting, before several calls may come."""
        engine = open_engine(self._options, self._run)
        return engine, threading.Semaphore(engine.calls_at_once)

    def greet(self, signature: Mapping[str, JsonValue]) -> MienError | None:
        """None if this engine is the one of which the keys of the answers are made."""
        try:
            engine, _ = self._opened
            if dict(engine.signature) == dict(signature):
                return None
        except MienError as error:
            return error
        return ClusterError(
            f"engine {engine.name} on {platform.node()} is not the one asked for: its model or version "
            "differs",
            hint="put the same weights and the same mien on every node",
        )

    def describe(self, requests: Packed) -> list[Reply | EngineError] | MienError:
        """As `Engine.describe`; of more calls than the engine likes at once, some wait."""
        try:
            engine, places = self._opened
            unpacked = [_unpacked(*request) for request in requests]
            with places:
                return list(engine.describe(unpacked))
        except MienError as error:
            return error


def packed(requests: Sequence[Request]) -> Packed:
    """To be handed over: an array goes through shared memory as it is, a picture is copied several times."""
    import numpy as np

    return [
        (
            request.subject_id,
            request.prompt,
            [np.asarray(image) if image.mode in ("RGB", "L") else image for image in request.images],
        )
        for request in requests
    ]


def _unpacked(subject_id: str, prompt: str, images: Sequence[Any]) -> Request:
    pictures = (image if isinstance(image, Image.Image) else Image.fromarray(image) for image in images)
    return Request(subject_id=subject_id, prompt=prompt, images=tuple(pictures))
