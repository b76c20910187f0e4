"""Photos as a page may show them: as they are, with heads blurred beyond recovery, or not at all.

Blurring averages a region to a few cells before anything else is done to the photo, so that the page does not
hold what was there. It covers the heads of people who have a box in the split, and faces that are found.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

import numpy as np
from PIL import Image

from mien.detection.onnx_model import OnnxModel
from mien.detection.yunet import Yunet
from mien.errors import MienError, WeightsError
from mien.evaluate.results.examples import Example
from mien.media.images import LoadedImage, check_box
from mien.media.views import load_image, select_frames
from mien.types import Box, ImageRef, Subject

__all__ = ["PHOTO_MODES", "FaceFinder", "Photo", "PhotoMode", "PhotoReader", "blur_region", "head_area"]

log = logging.getLogger(__name__)

PhotoMode = Literal["full", "blurred", "none"]
PHOTO_MODES: Final[tuple[PhotoMode, ...]] = get_args(PhotoMode)

_CELLS: Final = 4  # along the longer side of what is blurred: too few to tell one face from another
_HEAD_HEIGHT: Final = 0.4  # of a box that shows the whole body
_HEAD_WIDTH: Final = 0.9  # of the width of a box; a box of head and shoulders is hardly higher than that
_HEAD_MARGIN: Final = 0.1  # of the width, at both sides and above
_FACE_SCORE: Final = 0.4  # lower than usual: a blurred region too many harms no one
_FACE_MARGIN: Final = 0.25  # of a face's box, at each side, for hair and chin

_Place = tuple[Path, int | None]  # a photo, or a frame of a clip


@dataclass(frozen=True, slots=True)
class Photo:
    """An upright photo, the subject's box in its pixels, and why there is none if there is not."""

    image: Image.Image | None
    box: Box | None = None
    reason: str = ""


class FaceFinder:
    """Finds faces with a YuNet.

    Args:
        file: Its ONNX file.

    Raises:
        WeightsError: The file is not a YuNet.
        EngineDownError: ONNX Runtime is not installed.
    """

    def __init__(self, file: Path) -> None:
        self._model = OnnxModel(file, noun="face detector")
        yunet = Yunet.identify(self._model)
        if yunet is None:
            raise WeightsError(f"{file} is not a YuNet", hint="give the ONNX file of a YuNet face detector")
        self._yunet = yunet

    def __call__(self, image: Image.Image) -> list[Box]:
        """The boxes of faces with a margin, in pixels of the image; EngineError if the model fails."""
        boxes, scores = self._yunet.propose(self._model.run, image)
        self._model.require_finite(boxes, scores)
        found = boxes[scores >= _FACE_SCORE].astype(np.float64)
        margins = (found[:, 2:] - found[:, :2]) * _FACE_MARGIN
        return [
            Box(left=left, top=top, right=right, bottom=bottom)
            for left, top, right, bottom in np.hstack(
                [found[:, :2] - margins, found[:, 2:] + margins]
            ).tolist()
            if right > left and bottom > top
        ]


class PhotoReader:
    """Reads the photos of one split's examples. For several threads at once.

    Args:
        mode: How photos are shown.
        examples: Everyone in the split, whose heads are blurred in each other's photos.
        find_faces: Finds further faces to blur.
    """

    def __init__(
        self, mode: PhotoMode, examples: Iterable[Example] = (), find_faces: FaceFinder | None = None
    ) -> None:
        self.mode = mode
        self._find_faces = find_faces
        self._boxes: dict[_Place, list[Box | None]] = {}
        for example in examples if mode == "blurred" else ():
            for path, frame, box in zip(example.images, example.frames, example.boxes, strict=True):
                self._boxes.setdefault((path, frame), []).append(box)

    @property
    def note(self) -> str:
        """What was done to the photos, in sentences; "" if nothing."""
        if self.mode == "none":
            return "Photos were left out of this page. Ids and descriptions still say something about people."
        if self.mode == "full":
            return ""
        others = (
            "and so is every face that a face detector found; one that it missed, without a box, can be seen."
            if self._find_faces
            else "as far as the box tells where they are. Faces of people without a box can be seen."
        )
        return (
            f"In each photo, the heads of everyone who has a box in this split are averaged to at most "
            f"{_CELLS} x {_CELLS} cells, which cannot be undone, {others} Without a box, the whole photo is "
            "blurred. Clothes, bodies and places are unchanged: someone who knows a person may recognize "
            "them."
        )

    def place(self, example: Example) -> _Place:
        """Which photo shows the example: of a clip, the frame nearest to the middle that has a box."""
        reference, _ = _shown_frame(example)
        return reference.path, reference.frame

    def read(self, example: Example) -> Photo:
        """The photo of an example; without an image, with the reason, if it is left out or cannot be read."""
        return self.read_all([example])[0]

    def read_all(self, examples: Sequence[Example]) -> list[Photo]:
        """The same for several examples in one photo, which is opened once."""
        if self.mode == "none":
            return [Photo(None, reason="left out")] * len(examples)
        reference, _ = _shown_frame(examples[0])
        try:
            loaded = load_image(reference)
            image = loaded.image
            if self.mode == "blurred":
                image = self._blur(loaded, self._boxes.get((reference.path, reference.frame), [None]))
        except MienError as error:
            return [_unavailable(example, error) for example in examples]
        return [_with_box(example, loaded, image) for example in examples]

    def _blur(self, loaded: LoadedImage, boxes: Sequence[Box | None]) -> Image.Image:
        image = loaded.image
        whole = Box(left=0, top=0, right=image.width, bottom=image.height)
        placed = [loaded.place(box) for box in boxes]
        areas = [whole if box is None else head_area(box) for box in placed]
        if self._find_faces is not None:
            areas += self._find_faces(image)
        for area in areas:
            image = blur_region(image, area)
        return image


def head_area(box: Box) -> Box:
    """Where the head of a person is, guessed from the box of the body, with a margin.

    The upper part of the box, a little wider than it. Of a box that shows only head and shoulders, that is
    most of it. It is chosen to be too large rather than too small.
    """
    margin = _HEAD_MARGIN * box.width
    height = min(box.height, max(_HEAD_HEIGHT * box.height, _HEAD_WIDTH * box.width))
    return Box(
        left=box.left - margin, top=box.top - margin, right=box.right + margin, bottom=box.top + height
    )


def blur_region(image: Image.Image, area: Box) -> Image.Image:
    """The image with a rectangle averaged to a few cells, and drawn smooth between them."""
    left, top = max(0, int(area.left)), max(0, int(area.top))
    right, bottom = min(image.width, round(area.right)), min(image.height, round(area.bottom))
    if right <= left or bottom <= top:
        return image
    region = image.crop((left, top, right, bottom))
    cell = max(region.size) / _CELLS
    cells = max(1, round(region.width / cell)), max(1, round(region.height / cell))
    blurred = region.resize(cells, Image.Resampling.BOX).resize(region.size, Image.Resampling.BILINEAR)
    changed = image.copy()
    changed.paste(blurred, (left, top))
    return changed


def _shown_frame(example: Example) -> tuple[ImageRef, Box | None]:
    images = tuple(
        ImageRef(path=path, frame=frame) for path, frame in zip(example.images, example.frames, strict=True)
    )
    shown = select_frames(Subject(id=example.id, images=images, boxes=example.boxes), "middle_frame")
    return shown.images[0], shown.boxes[0]


def _with_box(example: Example, loaded: LoadedImage, image: Image.Image) -> Photo:
    _, box = _shown_frame(example)
    try:
        if box is not None:
            check_box(box, loaded.full_size)
    except MienError as error:
        return _unavailable(example, error)
    return Photo(image, loaded.place(box))


def _unavailable(example: Example, error: MienError) -> Photo:
    # In ASCII, because ids may contain control characters and lone surrogates.
    log.warning("example %a is shown without its image: %a", example.id, str(error))
    return Photo(None, reason=str(error))
