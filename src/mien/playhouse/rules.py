"""The rules of Playhouse: which emotions a person appears to feel, given all that is seen of them.

A score is a sum over the appraisals of the situation, each read together with the expression, and over
cues such as pose, gaze, company and the faces of the others, each of a modest weight. A simulated annotator
ticks a label if the score, plus a leaning of the annotator and some noise, is above `THRESHOLD`. Noise and
leaning are chosen so that annotators agree about as little as those of EMOTIC.

The rules are written, not measured: they say nothing about what people feel.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from mien.labels import EMOTIC
from mien.playhouse.appraisals import (
    BY_APPRAISAL,
    BY_CUE,
    BY_EXPRESSION_AND_CUE,
    DIMENSIONS_BY_APPRAISAL,
    DIMENSIONS_BY_CUE,
    LABEL_BIAS,
)
from mien.playhouse.scene import Scene
from mien.playhouse.situations import Situation, appraise

__all__ = [
    "DIMENSIONS",
    "THRESHOLD",
    "Observation",
    "SimulatedAnnotation",
    "annotate",
    "observe",
    "score_basic_emotions",
    "score_dimensions",
    "score_emotions",
]

THRESHOLD: Final = 3.0
DIMENSIONS: Final = ("valence", "arousal", "dominance")

_LEANING: Final = 0.35  # how much annotators differ in how readily they tick, standard deviation
_NOISE: Final = 1.35  # per label
_DIMENSION_NOISE: Final = 1.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What is seen of a person, or, in a description, what is said of them.

    Attributes:
        situation: The setting, the occasion and the item.
        expression: One of `scene.EXPRESSIONS`.
        cues: Names such as "pose raised", "gaze down" or "others smiling".
    """

    situation: Situation
    expression: str
    cues: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SimulatedAnnotation:
    """What one simulated annotator says of a person.

    Attributes:
        labels: The labels ticked.
        dimensions: Valence, arousal and dominance, integers from 1 to 10; None if not given.
    """

    labels: tuple[str, ...]
    dimensions: tuple[int, int, int] | None


def observe(scene: Scene) -> Observation:
    """All that is seen of the scene's subject."""
    return Observation(
        situation=scene.situation, expression=scene.person.expression, cues=tuple(_cues(scene))
    )


def _cues(scene: Scene) -> Iterator[str]:
    person = scene.person
    yield f"strength {person.strength}"
    yield f"pose {person.pose}"
    if person.expression != "drowsy":  # closed eyes
        yield f"gaze {person.gaze}"
    yield f"turn {person.turn}"
    yield f"tilt {person.tilt}"
    for sign in sorted(person.signs):
        yield f"sign {sign}"
    yield f"age {person.age}"
    yield f"closeness {scene.closeness(scene.subject)}"
    yield f"light {scene.light}"
    yield f"weather {scene.weather}"
    yield f"role {person.role}"
    for index, other in enumerate(scene.people):
        if index != scene.subject:
            yield f"others {other.expression}"


def score_emotions(seen: Observation) -> dict[str, float]:
    """Every EMOTIC label with its score; `THRESHOLD` is where an average annotator ticks it."""
    scores = dict.fromkeys(EMOTIC.labels, 0.0)
    for appraisal, weight in appraise(seen.situation).items():
        for label, score in BY_APPRAISAL[appraisal][seen.expression].items():
            scores[label] += weight * score
    own = BY_EXPRESSION_AND_CUE[seen.expression]
    for cue in (f"expression {seen.expression}", *seen.cues):
        for part in (BY_CUE.get(cue, {}), own.get(cue, {})):
            for label, score in part.items():
                scores[label] += score
    return scores


def score_dimensions(seen: Observation) -> tuple[float, float, float]:
    """Valence, arousal and dominance on EMOTIC's scale of 1 to 10, not rounded."""
    total = [5.5, 5.5, 5.5]
    for appraisal, weight in appraise(seen.situation).items():
        for axis, step in enumerate(DIMENSIONS_BY_APPRAISAL[appraisal]):
            total[axis] += weight * step
    for cue in (f"expression {seen.expression}", *seen.cues):
        for axis, step in enumerate(DIMENSIONS_BY_CUE.get(cue, ())):
            total[axis] += step
    valence, arousal, dominance = total
    return valence, arousal, dominance


def annotate(scene: Scene, rng: random.Random, annotators: int = 3) -> tuple[SimulatedAnnotation, ...]:
    """What simulated annotators say of the scene's subject. Each ticks at least one label."""
    seen = observe(scene)
    scores, vad = score_emotions(seen), score_dimensions(seen)
    return tuple(_annotation(scores, vad, rng) for _ in range(annotators))


def _annotation(
    scores: dict[str, float], vad: tuple[float, float, float], rng: random.Random
) -> SimulatedAnnotation:
    leaning = rng.gauss(0, _LEANING)
    noisy = {
        label: score + LABEL_BIAS.get(label, 0.0) + leaning + rng.gauss(0, _NOISE)
        for label, score in scores.items()
        if score > 0
    }
    ticked = tuple(label for label, score in noisy.items() if score > THRESHOLD)
    valence, arousal, dominance = (
        max(1, min(10, round(value + rng.gauss(0, _DIMENSION_NOISE)))) for value in vad
    )
    return SimulatedAnnotation(ticked or (max(noisy, key=noisy.__getitem__),), (valence, arousal, dominance))


def score_basic_emotions(scores: dict[str, float]) -> dict[str, float]:
    """Scores of CAER-S's seven classes, from those of EMOTIC's labels."""
    return {
        "Anger": max(scores["Anger"] * 1.1, scores["Annoyance"], scores["Disapproval"] * 0.8),
        "Disgust": scores["Aversion"] * 1.2,
        "Fear": max(scores["Fear"] * 1.1, scores["Disquietment"] * 0.8),
        "Happy": max(scores["Happiness"], scores["Pleasure"], scores["Excitement"] * 0.8),
        "Neutral": max(1.2, scores["Disconnection"] * 0.8, scores["Peace"] * 0.7, scores["Engagement"] * 0.6),
        "Sad": max(scores["Sadness"] * 1.1, scores["Suffering"], scores["Yearning"] * 0.8),
        "Surprise": scores["Surprise"],
    }
