"""The rules of the play: which emotions a person appears to feel, given face, pose, place and company.

In: a `Scene`. Out: a score for each of EMOTIC's 26 labels, valence/arousal/dominance, and what three
simulated annotators would tick. Knows nothing about pixels or words. The play is written, not measured:
nobody's real feelings follow from it.

A score adds up: what the face means at this place (`MEANING`), what the pose says with that face
(`POSTURE`), what the company does (`COMPANY`), and how strong the expression is. An annotator ticks a
label when the score, plus a leaning of their own and some noise, passes `THRESHOLD`.
"""

import random
from dataclasses import dataclass

from mien.labels import EMOTIC
from mien.playhouse.meanings import COMPANY, MEANING, POSTURE, STRONG
from mien.playhouse.scene import ABSENT_FROM_TRAIN, Person, Scene

THRESHOLD = 2.0
DIMENSIONS = ("valence", "arousal", "dominance")

# Valence, arousal, dominance on EMOTIC's scale of 1 to 10, as steps away from the middle.
_FACE_VAD = {
    "smiling": (2.4, 0.6, 1.0),
    "crying": (-2.2, 0.6, -1.8),
    "scowling": (-1.8, 1.4, 1.2),
    "gaping": (-0.2, 2.2, -1.0),
    "blank": (-0.2, -1.2, 0.0),
    "drowsy": (0.0, -2.6, -0.8),
}
_PLACE_VAD = {
    "party": (1.4, 1.0, 0.2),
    "funeral": (-1.8, -0.8, -0.6),
    "stadium": (0.8, 1.6, 0.4),
    "exam": (-0.4, 0.4, -0.6),
    "hospital": (-1.2, -0.4, -1.0),
    "beach": (1.6, -0.4, 0.4),
    "forest": (-1.0, 1.2, -0.8),
    "award": (1.6, 1.0, 1.0),
    "kitchen": (-1.0, 0.8, 0.0),
    "home": (0.4, -0.8, 0.4),
    "station": (0.0, 0.2, -0.2),
    "street": (-0.8, 0.0, -0.2),
}
_ROLE_VAD = {
    "comforted": (-0.4, 0.0, -1.2),
    "comforting": (0.4, 0.0, 0.8),
    "shouted_at": (-1.2, 0.8, -1.8),
    "shouting": (-1.0, 1.6, 1.8),
    "cheering": (0.8, 1.0, 0.4),
}
_POSE_VAD = {
    "raised": (0.3, 1.0, 0.6),
    "crossed": (-0.3, -0.2, 0.6),
    "hips": (0.0, 0.2, 1.0),
    "head": (-0.5, 0.4, -0.8),
    "hanging": (0.0, -0.5, -0.4),
}


# Annotators' habits, which no VLM knows: some words are ticked readily, some only where nothing else will do.
_HABIT = {
    "Engagement": 0.9,
    "Anticipation": 0.6,
    "Confidence": 0.5,
    "Excitement": 0.4,
    "Happiness": 0.4,
    "Pain": -0.6,
    "Embarrassment": -0.6,
    "Aversion": -0.6,
    "Sensitivity": -0.6,
    "Suffering": -0.4,
    "Fear": -0.4,
    "Anger": -0.5,
    "Sympathy": -0.3,
    "Surprise": -0.3,
    "Yearning": -0.4,
    "Sadness": -0.2,
}


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one annotator ticked, and their valence, arousal and dominance: integers from 1 to 10, or None."""

    labels: tuple[str, ...]
    dimensions: tuple[int, int, int] | None


def _parse(text: str) -> dict[str, float]:
    words = text.split()
    return {_full_name(name): float(score) for name, score in zip(words[::2], words[1::2], strict=True)}


def _full_name(start: str) -> str:
    (name,) = (label for label in EMOTIC.labels if label.startswith(start))
    return name


_ADDED_BY_POSE = {pose: {face: _parse(text) for face, text in row.items()} for pose, row in POSTURE.items()}
_ADDED_BY_COMPANY = {role: _parse(text) for role, text in COMPANY.items()}
_ADDED_WHEN_STRONG = {face: _parse(text) for face, text in STRONG.items()}
_MEANS = {place: {face: _parse(text) for face, text in row.items()} for place, row in MEANING.items()}


def score_emotions(place: str, person: Person) -> dict[str, float]:
    """Every EMOTIC label with its score; `THRESHOLD` is where an average annotator ticks it."""
    scores = dict.fromkeys(EMOTIC.labels, 0.0)
    meaning = _MEANS[place][person.expression]
    factor = 1.12 if person.strong else 0.92
    pose = _ADDED_BY_POSE[person.pose]
    parts = [
        {label: factor * score for label, score in meaning.items()},
        pose["any"],
        pose.get(person.expression, {}),
        _ADDED_BY_COMPANY[person.role],
        _ADDED_WHEN_STRONG.get(person.expression, {}) if person.strong else {},
    ]
    for part in parts:
        for label, score in part.items():
            scores[label] += score
    return scores


def dimensions(place: str, person: Person) -> tuple[float, float, float]:
    """Valence, arousal, dominance on EMOTIC's scale, before anybody rounds them."""
    neutral = (0.0, 0.0, 0.0)
    parts = (
        _FACE_VAD[person.expression],
        _PLACE_VAD[place],
        _ROLE_VAD.get(person.role, neutral),
        _POSE_VAD.get(person.pose, neutral),
        (0.0, 0.9 if person.strong else -0.4, 0.0),
    )
    valence, arousal, dominance = (5.5 + sum(steps) for steps in zip(*parts, strict=True))
    return valence, arousal, dominance


def annotate(scene: Scene, rng: random.Random, annotators: int = 3) -> tuple[Opinion, ...]:
    """What `annotators` simulated people say of the scene's subject. Each ticks at least one label."""
    scores = score_emotions(scene.place, scene.person)
    vad = dimensions(scene.place, scene.person)
    return tuple(_opinion(scores, vad, rng) for _ in range(annotators))


def _opinion(scores: dict[str, float], vad: tuple[float, float, float], rng: random.Random) -> Opinion:
    leaning = rng.gauss(0, 0.25)
    heard = {
        label: score + _HABIT.get(label, 0.0) + leaning + rng.gauss(0, 0.45)
        for label, score in scores.items()
        if score > 0
    }
    ticked = tuple(label for label, score in heard.items() if score > THRESHOLD)
    valence, arousal, dominance = (max(1, min(10, round(value + rng.gauss(0, 0.8)))) for value in vad)
    return Opinion(ticked or (max(heard, key=heard.__getitem__),), (valence, arousal, dominance))


def is_absent_from_train(scene: Scene) -> bool:
    """True where the subject's face at this place occurs in validation and test only."""
    return (scene.place, scene.person.expression) in ABSENT_FROM_TRAIN


def score_basic_emotions(scores: dict[str, float]) -> dict[str, float]:
    """The same play in CAER-S's seven classes, from EMOTIC's scores."""
    return {
        "Anger": max(scores["Anger"] * 1.1, scores["Annoyance"], scores["Disapproval"] * 0.8),
        "Disgust": scores["Aversion"] * 1.2,
        "Fear": max(scores["Fear"] * 1.1, scores["Disquietment"] * 0.8),
        "Happy": max(scores["Happiness"], scores["Pleasure"], scores["Excitement"] * 0.8),
        "Neutral": max(1.2, scores["Disconnection"] * 0.8, scores["Peace"] * 0.7, scores["Engagement"] * 0.6),
        "Sad": max(scores["Sadness"] * 1.1, scores["Suffering"], scores["Yearning"] * 0.8),
        "Surprise": scores["Surprise"],
    }
