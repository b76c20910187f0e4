"""The engine `cues`: small detectors on a CPU say who is boxed, how they look, and who and what is around.

It reads neither the prompt nor the red line, but the box. Its texts are a control for what a vision-language
model adds. They say nothing about who a person is.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Final, Self

from PIL import Image
from pydantic import JsonValue

from mien.describe.cues.detectors import FaceFinder, ObjectFinder
from mien.describe.cues.expression import ExpressionReader, PixelRange
from mien.describe.cues.parts import Part, find_part
from mien.describe.cues.posture import PoseReader
from mien.describe.cues.scene import Models, Sights, look, observe
from mien.describe.cues.wording import WORDING_VERSION, describe_scene
from mien.describe.engine import Engine, Reply, Request
from mien.describe.prompts import resolve_prompt
from mien.errors import ConfigError, EngineError, first_line
from mien.media.images import to_rgb
from mien.recipe import DescribeOptions, Options, RunOptions
from mien.recipe.describe import MarkStyle
from mien.types import Box
from mien.weights.model_folder import EMBEDDED

__all__ = ["CuesEngine", "CuesOptions"]

_MAX_THREADS: Final = 16  # more do not help: images are decoded in other threads


class CuesOptions(Options):
    """[describe.options] of engine "cues": its parts besides `describe.model`, each left out if not named.

    A part is FILE.onnx, or ORG/NAME:FILE.onnx on the Hugging Face Hub.

    Attributes:
        faces: finds faces: a YuNet.
        expression: classifies expressions of faces; needs `faces`.
        expression_labels: its classes as adjectives, in order; empty for the usual ones of a model with seven
            classes in color, or of FER+.
        expression_pixels: what it takes pixels as: "0..255", "0..1", "-1..1" or "imagenet".
        pose: finds the joints of a person: a MoveNet.
    """

    faces: str | None = None
    expression: str | None = None
    expression_labels: tuple[str, ...] = ()
    expression_pixels: PixelRange = "0..255"
    pose: str | None = None


class CuesEngine(Engine):
    """Writes what a YOLOX and the models of its options find.

    Args:
        objects: the YOLOX: FILE.onnx, or ORG/NAME:FILE.onnx on the Hugging Face Hub.
        options: see `CuesOptions`.
        marking: how the subject is marked for other models; with "red_box" the text speaks of the red box.
        num_threads: calls at the same time, each on one thread.

    Raises:
        ConfigError: an option lacks another one.
        WeightsError: a model is not available.
    """

    def __init__(
        self,
        objects: str,
        options: CuesOptions | None = None,
        *,
        marking: MarkStyle = "red_box",
        num_threads: int = 1,
    ) -> None:
        self._options = options or CuesOptions()
        if self._options.expression is not None and self._options.faces is None:
            raise ConfigError(
                "describe.options has an expression model, and no model that finds faces",
                hint="set describe.options.faces to a YuNet",
            )
        named = {
            "objects": objects,
            **{key: getattr(self._options, key) for key in ("faces", "expression", "pose")},
        }
        self._parts: Mapping[str, Part] = {
            key: find_part(name, _NOUNS[key]) for key, name in named.items() if name is not None
        }
        self._marking = marking
        self._num_threads = num_threads
        self._lock = threading.Lock()

    @classmethod
    def open(cls, options: DescribeOptions, run: RunOptions) -> Self:
        own = CuesOptions.parse(options.options, where="[describe.options] of engine 'cues'")
        if options.model == EMBEDDED:
            raise ConfigError(
                "engine 'cues' needs a detector of people and objects",
                hint="set describe.model to a YOLOX with the classes of COCO, an ONNX file",
            )
        if options.clip == "contact_sheet":
            raise ConfigError(
                "engine 'cues' reads frames one by one, and describe.clip is 'contact_sheet'",
                hint="set describe.clip to 'middle_frame' or 'frames'",
            )
        if resolve_prompt(options).reply_format != "text":
            raise ConfigError(
                f"engine 'cues' writes text, and the prompt {options.prompt!r} asks for scores",
                hint="set describe.prompt to another prompt; cues does not read it",
            )
        return cls(options.model, own, marking=options.marking, num_threads=_num_threads(run))

    @property
    def name(self) -> str:
        return f"cues/{self._parts['objects'].model.name}"

    @cached_property
    def signature(self) -> Mapping[str, JsonValue]:
        reads_expression = self._options.expression is not None
        return {
            "engine": "cues",
            "version": WORDING_VERSION,
            "models": {key: part.model.digest for key, part in self._parts.items()},
            "marking": self._marking,
            **({"expression_labels": [*self._options.expression_labels]} if reads_expression else {}),
            **({"expression_pixels": self._options.expression_pixels} if reads_expression else {}),
        }

    @property
    def origin(self) -> Mapping[str, JsonValue] | None:
        return self._parts["objects"].origin

    @property
    def takes_boxes(self) -> bool:
        return True

    @property
    def calls_at_once(self) -> int:
        return self._num_threads

    def describe(self, requests: Sequence[Request]) -> Sequence[Reply | EngineError]:
        if not requests:
            return []
        models = self._models
        seen: dict[int, tuple[Image.Image, Sights]] = {}  # people in one photo come one after another
        return [_reply(models, request, seen, boxed_name=self._marking == "red_box") for request in requests]

    @property
    def _models(self) -> Models:
        with self._lock:
            return self._opened

    @cached_property
    def _opened(self) -> Models:
        parts, options = {key: part.model for key, part in self._parts.items()}, self._options
        return Models(
            objects=ObjectFinder(parts["objects"]),
            faces=FaceFinder(parts["faces"]) if "faces" in parts else None,
            expression=ExpressionReader(
                parts["expression"], options.expression_labels, options.expression_pixels
            )
            if "expression" in parts
            else None,
            pose=PoseReader(parts["pose"]) if "pose" in parts else None,
        )


_NOUNS: Final = {
    "objects": "detector",
    "faces": "detector of faces",
    "expression": "classifier of expressions",
    "pose": "pose model",
}


def _num_threads(run: RunOptions) -> int:
    stated = os.environ.get("OMP_NUM_THREADS", "")  # set for the workers of a cluster
    cores = int(stated) if stated.isdecimal() and int(stated) > 0 else os.cpu_count() or 1
    return min(_MAX_THREADS, run.threads or cores)


def _reply(
    models: Models, request: Request, seen: dict[int, tuple[Image.Image, Sights]], *, boxed_name: bool
) -> Reply | EngineError:
    try:
        boxes = request.boxes or (None,) * len(request.images)
        texts = []
        for image, box in zip(request.images, boxes, strict=True):
            if id(image) not in seen:
                rgb = to_rgb(image)
                seen[id(image)] = rgb, look(models, rgb)
            rgb, sights = seen[id(image)]
            scene = observe(models, rgb, sights, None if box is None else _edges(box, image))
            texts.append(describe_scene(scene, boxed_name=boxed_name))
    except EngineError as error:
        return error
    except Exception as error:  # noqa: BLE001  hostile pixels make libraries raise nearly anything
        return EngineError(
            f"{request.subject_id!r} cannot be described: {first_line(error, with_type=True)}",
            hint="check its image",
        )
    if len(texts) == 1:
        return Reply(text=texts[0])
    return Reply(text=" ".join(f"Frame {number}: {text}" for number, text in enumerate(texts, 1)))


def _edges(box: Box, image: Image.Image) -> tuple[float, float, float, float]:
    return box.clip(*image.size).as_tuple()
