"""Any object-detection model of transformers, such as D-FINE, RT-DETRv2, YOLOS or DETR, in float32.

transformers is imported and the model is loaded with the first image. Every image is prepared by itself, and
only images that become the same size are batched: some processors would pad a batch to its largest image,
which moves the boxes of all others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Final, Self

import torch
from PIL import Image
from pydantic import JsonValue
from safetensors import safe_open
from torch import Tensor

from mien.errors import EngineDownError, EngineError, ImageError, MienError, WeightsError, first_line
from mien.features.device import open_device, resolve_device
from mien.predict.detect.detector import Detection, Detector, DetectorOptions
from mien.predict.detect.opened import detect_opened
from mien.predict.detect.selection import select_detections
from mien.weights.build_limits import check_size
from mien.weights.model_folder import EMBEDDED, ModelFolder, find_encoder_folder, read_json
from mien.weights.quiet import quiet_transformers

__all__ = ["DEFAULT_MODEL", "TransformersDetector"]

DEFAULT_MODEL: Final = "ustc-community/dfine-small-coco"  # Apache-2.0, 42 MB

_VERSION: Final = 1  # raise it when the same files and options give other boxes
_FILES: Final = ("*.json", "*.safetensors")
_MIN_SCORE: Final = 0.5
_MAX_OVERLAP: Final = 0.5  # of the embedded detector, which now and then finds a person twice
_SHOWN: Final = 10  # classes in a message
_BATCH: Final = 8  # images at a time: more is not faster, and takes more memory
_HINT: Final = "choose an object-detection model such as D-FINE, RT-DETRv2 or YOLOS, as safetensors"
# Names of classes that are people: COCO's and Objects365's "person", and those of Open Images and others.
_PEOPLE: Final = frozenset(
    {"person", "people", "human", "human body", "pedestrian", "man", "woman", "boy", "girl", "child"}
)

Found = Sequence[Detection] | MienError


class TransformersDetector(Detector):
    """Runs an object-detection model in this process.

    Args:
        model: A folder, a name on the Hugging Face Hub, or "playhouse" for the embedded model.
        options: Which boxes are returned.
        device: "cpu", "cuda", "cuda:1", "mps", or "auto" for the fastest that is available.

    Raises:
        WeightsError: The model is not available, or none of its classes is a person.
    """

    def __init__(
        self, model: str = DEFAULT_MODEL, options: DetectorOptions | None = None, *, device: str = "cpu"
    ) -> None:
        self._folder = find_encoder_folder(model, embedded_as="detector", patterns=_FILES)
        self._people = _find_people(self._folder)
        self._options = (options or DetectorOptions()).with_defaults(
            min_score=_MIN_SCORE, max_overlap=_MAX_OVERLAP if model == EMBEDDED else None
        )
        self._device = resolve_device(device)

    @classmethod
    def open(cls, model: str | None, options: DetectorOptions, *, device: str) -> Self:
        return cls(DEFAULT_MODEL if model is None else model, options, device=device)

    @property
    def name(self) -> str:
        return f"transformers/{self._folder.name}"

    @cached_property
    def signature(self) -> Mapping[str, JsonValue]:
        return {
            "detector": "transformers",
            "version": _VERSION,
            **self._folder.identity(),
            **self._options.identity(),
        }

    @property
    def origin(self) -> Mapping[str, JsonValue] | None:
        return self._folder.origin()

    def detect(self, images: Sequence[Image.Image]) -> Sequence[Sequence[Detection] | MienError]:
        return detect_opened(images, self._detect_opened)

    def _detect_opened(self, images: Sequence[Image.Image]) -> list[Found]:
        # Outside of the loop over images: what fails here concerns all of them.
        model, processor = self._model, self._processor
        prepared = [self._prepare(processor, image) for image in images]
        found: list[Found] = [pixels if isinstance(pixels, MienError) else () for pixels in prepared]
        same_shape: dict[torch.Size, list[int]] = {}
        for index, pixels in enumerate(prepared):
            if not isinstance(pixels, MienError):
                same_shape.setdefault(pixels.shape, []).append(index)
        for indices in same_shape.values():
            for batch in (indices[start : start + _BATCH] for start in range(0, len(indices), _BATCH)):
                inputs = [pixels for index in batch if isinstance(pixels := prepared[index], Tensor)]
                results = self._detect_batch(model, inputs, [images[index].size for index in batch])
                for index, result in zip(batch, results, strict=True):
                    found[index] = result
        return found

    def _prepare(self, processor: Any, image: Image.Image) -> Tensor | ImageError:
        try:
            # Without the format of the data, an image 3 pixels high would be taken for one of 3 channels.
            inputs = processor(images=image, return_tensors="pt", input_data_format="channels_last")
            pixels: Tensor = inputs["pixel_values"][0]
        except Exception as error:  # noqa: BLE001  a processor may raise anything
            width, height = image.size
            return ImageError(
                f"the detector {self._folder.name} cannot take an image of {width} x {height} pixels: "
                f"{first_line(error)}",
                hint="give an image that is less narrow, or use another detector",
            )
        return pixels

    def _detect_batch(self, model: Any, pixels: list[Tensor], sizes: list[tuple[int, int]]) -> list[Found]:
        """What is found in each image; if a batch fails, its halves are tried."""
        try:
            results = self._run(model, torch.stack(pixels), sizes)
            return [self._people_of(result, size) for result, size in zip(results, sizes, strict=True)]
        except Exception as error:  # noqa: BLE001  a model may raise anything, and devices run out of memory
            if len(pixels) == 1:
                return [self._failure(error)]
        # Outside of the handler, because its traceback keeps the tensors alive.
        half = len(pixels) // 2
        return [
            *self._detect_batch(model, pixels[:half], sizes[:half]),
            *self._detect_batch(model, pixels[half:], sizes[half:]),
        ]

    @torch.inference_mode()
    def _run(
        self, model: Any, pixels: Tensor, sizes: Sequence[tuple[int, int]]
    ) -> Sequence[Mapping[str, Tensor]]:
        outputs = model(pixel_values=pixels.to(model.device))
        if not (outputs.logits.isfinite().all() and outputs.pred_boxes.isfinite().all()):
            raise EngineError(
                f"the boxes or scores of the detector {self._folder.name} are not finite",
                hint="the model may be damaged; copy it again",
            )
        results: Sequence[Mapping[str, Tensor]] = self._processor.post_process_object_detection(
            outputs, threshold=0.0, target_sizes=[(height, width) for width, height in sizes]
        )
        return results

    def _people_of(self, result: Mapping[str, Tensor], size: tuple[int, int]) -> Sequence[Detection]:
        is_person = torch.isin(result["labels"].cpu(), torch.tensor(self._people))
        boxes, scores = (result[key].float().cpu()[is_person].numpy() for key in ("boxes", "scores"))
        return select_detections(boxes, scores, size, self._options)

    def _failure(self, error: Exception) -> MienError:
        if isinstance(error, MienError):
            return error
        return EngineError(
            f"the detector {self._folder.name} failed: {first_line(error, with_type=True)}",
            hint="check that the model takes such images, and that the device has memory for it",
        )

    @cached_property
    def _model(self) -> Any:
        return _load_model(self._folder, open_device(self._device))

    @cached_property
    def _processor(self) -> Any:
        return _load_processor(self._folder)


# --- Loading -------------------------------------------------------------------------------------------


def _find_people(folder: ModelFolder) -> list[int]:
    """The numbers of the classes that are people; WeightsError if there are none."""
    classes = read_json(folder.path / "config.json").get("id2label")
    named = {number: str(name) for number, name in classes.items()} if isinstance(classes, dict) else {}
    people = [int(number) for number, name in named.items() if number.isdecimal() and _is_person(name)]
    if not people:
        shown = ", ".join([*named.values()][:_SHOWN]) or "none"
        raise WeightsError(
            f"no class of {folder.name} is a person; its classes are: {shown}",
            hint='choose an object-detection model with the class "person", or name it so in id2label of '
            "its config.json",
        )
    return people


def _is_person(name: str) -> bool:
    return name.replace("_", " ").replace("-", " ").strip().casefold() in _PEOPLE


def _load_processor(folder: ModelFolder) -> Any:
    # In transformers 5.5, `transformers.AutoImageProcessor` is a dummy without torchvision; this one works.
    from transformers.models.auto import image_processing_auto

    images: Any = image_processing_auto.AutoImageProcessor  # without annotations
    try:
        with quiet_transformers():
            return images.from_pretrained(folder.path, backend="pil", trust_remote_code=False)
    except Exception as error:  # a folder may hold anything, and then raises nearly anything in the library
        raise _load_error(folder, error) from error


def _load_model(folder: ModelFolder, device: torch.device) -> Any:
    import transformers

    detection: Any = transformers.AutoModelForObjectDetection  # without annotations
    try:
        config = transformers.AutoConfig.from_pretrained(folder.path, trust_remote_code=False)
        check_size(lambda: detection.from_config(config), _weight_sizes(folder))
        with quiet_transformers():
            model, report = detection.from_pretrained(
                folder.path,
                config=config,
                dtype=torch.float32,
                use_safetensors=True,
                output_loading_info=True,
            )
    except Exception as error:  # as above
        raise _load_error(folder, error) from error
    missing = sorted(report["missing_keys"])
    if missing:
        # transformers would continue with random weights and a warning.
        raise WeightsError(
            f"{folder.name} lacks {len(missing)} weights of its model, such as {missing[0]}", hint=_HINT
        )
    return model.eval().to(device)


def _weight_sizes(folder: ModelFolder) -> list[int]:
    sizes = []
    for file in sorted(folder.path.glob("*.safetensors")):
        with safe_open(file, framework="pt") as opened:
            sizes += [math.prod(opened.get_slice(name).get_shape()) for name in opened.keys()]  # noqa: SIM118
    return sizes


def _load_error(folder: ModelFolder, error: Exception) -> MienError:
    if isinstance(error, ImportError) or "torchvision" in str(error):
        return EngineDownError(
            f"{folder.name} needs a library that is missing: {first_line(error)}",
            hint="install it, or choose a model without it, such as D-FINE, RT-DETRv2 or YOLOS",
        )
    return WeightsError(f"{folder.name} cannot be loaded from {folder.path}: {first_line(error)}", hint=_HINT)
