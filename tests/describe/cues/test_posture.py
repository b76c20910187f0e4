"""Joints become words, by geometry alone."""

import numpy as np
import pytest

from mien.describe.cues.posture import Posture, read_posture

# x and y of COCO's joints of someone who stands upright with the arms down.
STANDING = {
    "nose": (0.5, 0.15), "left_eye": (0.53, 0.12), "right_eye": (0.47, 0.12),
    "left_shoulder": (0.6, 0.28), "right_shoulder": (0.4, 0.28),
    "left_wrist": (0.62, 0.55), "right_wrist": (0.38, 0.55),
    "left_hip": (0.56, 0.53), "right_hip": (0.44, 0.53),
    "left_knee": (0.56, 0.73), "right_knee": (0.44, 0.73),
    "left_ankle": (0.56, 0.93), "right_ankle": (0.44, 0.93),
}  # fmt: skip
ORDER = (
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder"),
    *("left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip"),
    *("left_knee", "right_knee", "left_ankle", "right_ankle"),
)


def posture(
    *, score: float = 0.9, without: tuple[str, ...] = (), **moved: tuple[float, float]
) -> Posture | None:
    places = STANDING | moved
    rows = [
        (*places[name], score) if name in places and not name.endswith(without or ("-",)) else (0.5, 0.5, 0.0)
        for name in ORDER
    ]
    return read_posture(np.array(rows, float))


def test_someone_stands_with_the_arms_down() -> None:
    assert posture() == Posture(stance="stand", details=("the arms down",), is_sure=True)


@pytest.mark.parametrize(
    ("moved", "stance", "detail"),
    [
        ({"left_wrist": (0.7, 0.05)}, "stand", "one arm raised"),
        ({"left_wrist": (0.7, 0.05), "right_wrist": (0.3, 0.05)}, "stand", "both arms raised"),
        ({"left_wrist": (0.52, 0.18)}, "stand", "a hand at the face"),
        ({"left_wrist": (0.51, 0.45), "right_wrist": (0.49, 0.45)}, "stand", "the hands together"),
        ({"left_wrist": (0.9, 0.3)}, "stand", "one arm stretched out"),
        ({"left_wrist": (0.9, 0.3), "right_wrist": (0.1, 0.3)}, "stand", "both arms stretched out"),
        ({"nose": (0.5, 0.27)}, "stand", "the head lowered"),
        ({"left_eye": (0.52, 0.08), "right_eye": (0.48, 0.12)}, "stand", "the head tilted"),
        ({"left_knee": (0.7, 0.68), "left_ankle": (0.5, 0.8)}, "stand", "one knee bent"),
        ({"left_ankle": (0.75, 0.93), "right_ankle": (0.25, 0.93)}, "stand", "the legs apart"),
        ({"left_knee": (0.8, 0.58), "right_knee": (0.7, 0.58)}, "sit", None),
        ({"left_knee": (0.57, 0.6), "right_knee": (0.43, 0.6)}, "sit", None),  # towards the camera
        ({"left_shoulder": (0.8, 0.3), "right_shoulder": (0.65, 0.3)}, "lean", None),
        (
            {
                "left_shoulder": (0.9, 0.5),
                "right_shoulder": (0.9, 0.6),
                "left_knee": (0.2, 0.5),
                "right_knee": (0.2, 0.6),
            },
            "lie",
            None,
        ),
        ({"left_shoulder": (0.9, 0.5), "right_shoulder": (0.9, 0.6)}, "bend over", None),
    ],
)
def test_stances_and_details(moved: dict[str, tuple[float, float]], stance: str, detail: str | None) -> None:
    found = posture(**moved)  # type: ignore[arg-type]
    assert found is not None
    assert found.stance == stance
    assert detail is None or detail in found.details


def test_what_is_not_seen_is_not_said() -> None:
    upper = posture(without=("hip", "knee", "ankle"))
    assert upper == Posture(stance=None, details=("the arms down",), is_sure=True)
    assert posture(without=("wrist", "knee", "ankle")) == Posture(stance=None, details=(), is_sure=True)
    assert posture(without=("left_shoulder",)) is None
    assert posture(score=0.2) is None


def test_joints_with_low_scores_are_unsure() -> None:
    found = posture(score=0.4)
    assert found is not None
    assert not found.is_sure
