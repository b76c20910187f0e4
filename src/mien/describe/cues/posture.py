"""How a person holds the body, from the joints that a pose model finds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from jaxtyping import Float
from PIL import Image

from mien.describe.cues.geometry import Edges
from mien.detection.onnx_model import OnnxModel
from mien.errors import WeightsError

__all__ = ["PoseReader", "Posture", "read_posture"]

Joints = Float[np.ndarray, "17 3"]  # x and y in a unit that is the same for both, and a score

# COCO's order of joints.
_NOSE, _LEFT_EYE, _RIGHT_EYE = 0, 1, 2
_SHOULDERS, _WRISTS = (5, 6), (9, 10)
_HIPS, _KNEES, _ANKLES = (11, 12), (13, 14), (15, 16)
_NUM_JOINTS: Final = 17

_MARGIN: Final = 0.125  # of the longer side of the box, around it
_SEEN: Final = 0.3  # least score of a joint
_SURE: Final = 0.5  # mean score of the joints of the body, from which on a posture is stated plainly

# Degrees.
_UPRIGHT: Final = 30
_LYING: Final = 60
_ON_LEGS: Final = 45  # of a thigh that carries someone who is bent over
_SEATED_THIGH: Final = 50
_BENT_KNEE: Final = 130
_TILTED: Final = 20
# In lengths of the torso.
_FORESHORTENED: Final = 0.45  # of a thigh that points at the camera
_RAISED: Final = 0.1
_AT_FACE: Final = 0.35
_TOGETHER: Final = 0.25
_SPREAD: Final = 0.8
_LOWERED: Final = 0.2
_STRIDE: Final = 0.9
_SHOULDERS_TO_TORSO: Final = 1.3  # of people upright, from the front; where no hips are seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Posture:
    """What the joints say.

    Attributes:
        stance: "stand", "sit", "lie", "lean" or "bend over"; None if hips or legs are not seen.
        details: What arms, head and legs do, as in "with ...".
        is_sure: Whether the joints are found well.
    """

    stance: str | None
    details: tuple[str, ...]
    is_sure: bool


class PoseReader:
    """A MoveNet, or another model of one person with its form: pixels in, 17 joints out.

    Raises:
        WeightsError: The model is something else.
    """

    def __init__(self, model: OnnxModel) -> None:
        self._model = model
        shape, outputs = model.input_shape, [*model.outputs.values()]
        if not (_takes_pixels(shape) and len(outputs) == 1 and outputs[0][-2:] == [_NUM_JOINTS, 3]):
            raise WeightsError(
                f"{model.path} is not a pose model of one person: it takes {shape}, and its outputs are "
                f"{', '.join(model.outputs)}",
                hint="set describe.options.pose to a MoveNet",
            )
        self._side = int(shape[1])
        self._type: Any = np.int32 if model.input_type == "tensor(int32)" else np.float32

    def read(self, image: Image.Image, box: Edges) -> Posture | None:
        """The posture of the person in a box of an RGB image; None if it cannot be made out.

        Raises:
            EngineError: The model fails on it.
        """
        side = max(box[2] - box[0], box[3] - box[1]) * (1 + 2 * _MARGIN)
        left, top = (box[0] + box[2] - side) / 2, (box[1] + box[3] - side) / 2
        crop = image.transform(
            (self._side, self._side),
            Image.Transform.EXTENT,
            (left, top, left + side, top + side),
            Image.Resampling.BILINEAR,
        )
        (output,) = self._model.run(np.asarray(crop)[None].astype(self._type)).values()
        joints = output.reshape(_NUM_JOINTS, 3).astype(np.float64)
        self._model.require_finite(joints)
        return read_posture(joints[:, [1, 0, 2]].round(4))


def _takes_pixels(shape: tuple[int | str, ...]) -> bool:
    return len(shape) == 4 and shape[3] == 3 and isinstance(shape[1], int) and shape[1] == shape[2]


def read_posture(joints: Joints) -> Posture | None:
    """The posture that joints show; None if the shoulders are not seen."""
    seen = joints[:, 2] >= _SEEN
    if not seen[list(_SHOULDERS)].all():
        return None
    shoulders = joints[list(_SHOULDERS), :2].mean(axis=0)
    has_hips = bool(seen[list(_HIPS)].any())
    hips = joints[[hip for hip in _HIPS if seen[hip]], :2].mean(axis=0) if has_hips else None
    # The larger of both: a torso is short when people bend towards the camera, shoulders from the side.
    span = float(np.hypot(*(joints[_SHOULDERS[0], :2] - joints[_SHOULDERS[1], :2]))) * _SHOULDERS_TO_TORSO
    torso = max(span, 0.0 if hips is None else float(np.hypot(*(hips - shoulders))), 1e-3)
    stance, leg_details = (None, []) if hips is None else _stance(joints, seen, hips - shoulders, torso)
    details = [*_arms(joints, seen, torso), *_head(joints, seen, shoulders, torso), *leg_details]
    used = [joint for joint in (*_SHOULDERS, *_HIPS, *_KNEES) if seen[joint]]
    is_sure = float(joints[used, 2].mean()) >= _SURE
    return Posture(stance=stance, details=tuple(details), is_sure=is_sure)


def _stance(
    joints: Joints, seen: np.ndarray, spine: np.ndarray, torso: float
) -> tuple[str | None, list[str]]:
    tilt = _from_vertical(spine)
    legs = [
        (joints[hip, :2], joints[knee, :2], joints[ankle, :2] if seen[ankle] else None)
        for hip, knee, ankle in zip(_HIPS, _KNEES, _ANKLES, strict=True)
        if seen[hip] and seen[knee]
    ]
    if tilt > _LYING:
        on_legs = legs and all(_from_vertical(knee - hip) < _ON_LEGS for hip, knee, _ in legs)
        return "bend over" if on_legs else "lie", []
    if legs and all(_is_seated(hip, knee, torso) for hip, knee, _ in legs):
        return "sit", []
    if tilt > _UPRIGHT:
        return "lean", []
    if not legs:
        return None, []
    bent = [ankle is not None and _angle(hip, knee, ankle) < _BENT_KNEE for hip, knee, ankle in legs]
    ankles = [ankle for *_, ankle in legs if ankle is not None]
    details = [f"{'the knees' if sum(bent) > 1 else 'one knee'} bent"] if any(bent) else []
    if len(ankles) > 1 and abs(ankles[0][0] - ankles[1][0]) > _STRIDE * torso:
        details.append("the legs apart")
    return "stand", details


def _is_seated(hip: np.ndarray, knee: np.ndarray, torso: float) -> bool:
    thigh = knee - hip
    return _from_vertical(thigh) > _SEATED_THIGH or float(np.hypot(*thigh)) < _FORESHORTENED * torso


def _arms(joints: Joints, seen: np.ndarray, torso: float) -> list[str]:
    wrists = [
        (joints[wrist, :2], joints[shoulder, :2])
        for wrist, shoulder in zip(_WRISTS, _SHOULDERS, strict=True)
        if seen[wrist]
    ]
    at_face = bool(seen[_NOSE]) and any(
        np.hypot(*(wrist - joints[_NOSE, :2])) < _AT_FACE * torso for wrist, _ in wrists
    )
    if at_face:
        return ["a hand at the face"]
    raised = sum(shoulder[1] - wrist[1] > _RAISED * torso for wrist, shoulder in wrists)
    if raised:
        return ["both arms raised" if raised > 1 else "one arm raised"]
    spread = sum(abs(wrist[0] - shoulder[0]) > _SPREAD * torso for wrist, shoulder in wrists)
    if spread:
        return ["both arms stretched out" if spread > 1 else "one arm stretched out"]
    if len(wrists) > 1 and np.hypot(*(wrists[0][0] - wrists[1][0])) < _TOGETHER * torso:
        return ["the hands together"]
    return ["the arms down"] if len(wrists) > 1 else []


def _head(joints: Joints, seen: np.ndarray, shoulders: np.ndarray, torso: float) -> list[str]:
    if not seen[_NOSE]:
        return []
    if shoulders[1] - joints[_NOSE, 1] < _LOWERED * torso:
        return ["the head lowered"]
    if seen[_LEFT_EYE] and seen[_RIGHT_EYE]:
        eyes = joints[_LEFT_EYE, :2] - joints[_RIGHT_EYE, :2]
        if 90 - _from_vertical(eyes) > _TILTED:
            return ["the head tilted"]
    return []


def _from_vertical(vector: Sequence[float] | np.ndarray) -> float:
    """Degrees from 0 to 90; 0 up or down."""
    return math.degrees(math.atan2(abs(vector[0]), abs(vector[1])))


def _angle(first: np.ndarray, middle: np.ndarray, last: np.ndarray) -> float:
    """Degrees of the angle at the middle point."""
    one, other = first - middle, last - middle
    lengths = max(1e-9, float(np.hypot(*one) * np.hypot(*other)))
    return math.degrees(math.acos(float(np.clip(one @ other / lengths, -1, 1))))
