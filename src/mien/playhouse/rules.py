"""The rules of Playhouse: which emotions a person appears to feel, given expression, pose, place and company.

A score is a sum: what the expression means at this place (`_MEANING`), what the pose adds to that expression
(`_POSTURE`), what the company adds (`_COMPANY`), and how strong the expression is. A simulated annotator
ticks a label if the score, plus a leaning of the annotator and some noise, is above `THRESHOLD`.

The rules are written, not measured: they say nothing about what people feel.
"""

import random
from dataclasses import dataclass

from mien.labels import EMOTIC
from mien.playhouse.scene import ABSENT_FROM_TRAIN, DrawnPerson, Scene

__all__ = [
    "DIMENSIONS",
    "THRESHOLD",
    "SimulatedAnnotation",
    "annotate",
    "is_absent_from_train",
    "score_basic_emotions",
    "score_dimensions",
    "score_emotions",
]

THRESHOLD = 2.0
DIMENSIONS = ("valence", "arousal", "dominance")

# Emotions with weights. Short names keep the table readable; each is the beginning of one EMOTIC label.

# What an expression means at a place.
_MEANING = {
    "party": {
        "smiling": "Happ 3 Plea 2.4 Exci 1.8 Enga 1.6 Affe 1",
        "crying": "Sadn 2 Happ 1.4 Affe 2 Sens 1.8 Surp 1.2",
        "scowling": "Anno 2.8 Disa 2.2 Aver 1.4 Ange 1.2",
        "gaping": "Surp 3 Exci 2.6 Happ 1.8 Anti 1.6",
        "blank": "Disc 2.6 Doub 1.2 Emba 1.4 Year 1",
        "drowsy": "Fati 2.8 Disc 1.8 Peac 1.4",
    },
    "funeral": {
        "smiling": "Symp 2.4 Peac 2 Este 1.8 Affe 1.6",
        "crying": "Sadn 3.4 Suff 2.8 Year 2.2 Pain 1.2 Sens 1.4",
        "scowling": "Ange 2.2 Suff 1.8 Disa 1.6 Aver 1.2",
        "gaping": "Disq 2.4 Sadn 2 Fear 1.4 Surp 1.2",
        "blank": "Sadn 2.2 Disc 2 Este 1.6 Year 1.2",
        "drowsy": "Fati 2 Sadn 1.8 Peac 1.6 Suff 1.2",
    },
    "stadium": {
        "smiling": "Exci 3 Happ 2.6 Enga 2.4 Anti 1.8 Conf 1.4",
        "crying": "Exci 2 Happ 1.8 Sadn 1.6 Sens 1.4 Este 1.4",
        "scowling": "Anno 2.4 Disa 2.6 Ange 1.8 Enga 2",
        "gaping": "Anti 2.6 Surp 2.4 Exci 2.2 Enga 2",
        "blank": "Enga 2.2 Anti 1.8 Disc 1",
        "drowsy": "Disc 2.6 Fati 2.2",
    },
    "exam": {
        "smiling": "Conf 3 Enga 2.4 Plea 1.4 Anti 1.2",
        "crying": "Disq 2.6 Suff 1.8 Emba 1.8 Sadn 1.6 Fear 1.2",
        "scowling": "Doub 2.6 Enga 2.4 Anno 1.8",
        "gaping": "Fear 2 Disq 2.8 Surp 1.8 Doub 1.4",
        "blank": "Enga 2.6 Doub 2 Anti 1.4",
        "drowsy": "Fati 3 Disc 2.4",
    },
    "hospital": {
        "smiling": "Peac 2.2 Happ 1.8 Conf 1.4 Affe 1.6",
        "crying": "Pain 3 Suff 2.8 Sadn 2.2 Fear 1.2 Sens 1.2",
        "scowling": "Pain 2.4 Anno 2 Suff 1.4 Disq 1.2",
        "gaping": "Fear 2.6 Pain 2 Disq 2.2 Surp 1.4",
        "blank": "Disq 2.2 Disc 1.8 Anti 1.4 Fati 1.2",
        "drowsy": "Fati 2.8 Pain 1.6 Peac 1.2 Suff 1.2",
    },
    "beach": {
        "smiling": "Plea 3 Happ 2.6 Peac 2.2 Enga 1.2",
        "crying": "Sadn 2 Year 2.4 Sens 1.8",
        "scowling": "Anno 2.4 Aver 1.8 Disa 1.2",
        "gaping": "Surp 2.4 Exci 2.4 Anti 1.8 Plea 1.4",
        "blank": "Peac 2.4 Disc 1.8 Year 1.4",
        "drowsy": "Peac 3 Plea 2 Fati 1.4",
    },
    "forest": {
        "smiling": "Conf 2.6 Exci 2.2 Enga 1.6 Anti 1.4",
        "crying": "Fear 3 Suff 2 Sens 1.6 Disq 1.6",
        "scowling": "Ange 1.8 Aver 2.6 Conf 1.8 Disq 1.2",
        "gaping": "Fear 3.4 Surp 2.4 Disq 2.2",
        "blank": "Disq 2.4 Doub 1.8 Enga 1.4",
        "drowsy": "Disc 2.4 Fati 2 Doub 1",
    },
    "award": {
        "smiling": "Happ 2.8 Conf 2.6 Este 2.4 Plea 1.6",
        "crying": "Happ 2.8 Este 2.4 Surp 1.8 Sens 1.6 Exci 2",
        "scowling": "Disa 2.6 Year 2.2 Anno 1.8",
        "gaping": "Surp 3.2 Exci 2.4 Happ 2 Este 1.4",
        "blank": "Este 1.6 Anti 2 Emba 1.8 Disc 1.2",
        "drowsy": "Disc 2.4 Fati 2",
    },
    "kitchen": {
        "smiling": "Symp 1.6 Emba 2.2 Conf 1.4 Doub 1.2",
        "crying": "Sadn 2.6 Sens 2.6 Suff 2 Pain 1",
        "scowling": "Ange 3.2 Anno 2.6 Disa 2.2 Aver 1.4",
        "gaping": "Surp 2.2 Disq 2.4 Fear 2 Emba 1.2",
        "blank": "Disc 2 Disq 1.8 Aver 1.2",
        "drowsy": "Fati 2.4 Disc 2 Sens 1",
    },
    "home": {
        "smiling": "Peac 2.4 Happ 2.2 Affe 2.2 Plea 1.6",
        "crying": "Sadn 2.8 Year 2 Sens 2 Suff 1.2",
        "scowling": "Anno 2.6 Disa 1.6 Doub 1.2",
        "gaping": "Surp 2.4 Doub 1.6 Anti 1.6 Disq 1.2",
        "blank": "Disc 2.4 Peac 2 Doub 1",
        "drowsy": "Fati 2.6 Peac 2.4",
    },
    "station": {
        "smiling": "Anti 3 Happ 2 Affe 1.6 Exci 1.4",
        "crying": "Year 3 Sadn 2.6 Affe 2 Sens 1.4",
        "scowling": "Anno 3 Disq 1.6 Anti 1.6",
        "gaping": "Surp 2.4 Disq 2 Anti 1.8 Exci 1",
        "blank": "Anti 2.4 Disc 2.2 Year 1.4",
        "drowsy": "Fati 3 Disc 1.8 Anti 1",
    },
    "street": {
        "smiling": "Happ 2 Conf 1.8 Peac 1.4 Enga 1.2",
        "crying": "Sadn 2.6 Suff 2.2 Sens 1.8 Year 1.2",
        "scowling": "Anno 2.6 Aver 2.2 Ange 1.2",
        "gaping": "Surp 2.4 Fear 1.8 Disq 2",
        "blank": "Disc 2.6 Sadn 1.2 Doub 1",
        "drowsy": "Fati 2.4 Sadn 1.4 Disc 1.4",
    },
}

# What a pose adds to any expression, and to a particular one.
_POSTURE = {
    "raised": {
        "any": "Exci 1 Enga .4",
        "smiling": "Exci .8 Happ .5",
        "scowling": "Ange 1.4",
        "gaping": "Fear .6 Surp .6",
    },
    "crossed": {
        "any": "Disa .8 Disc .4",
        "smiling": "Conf 1.2 Este .6",
        "scowling": "Disa 1",
        "blank": "Doub .6",
    },
    "hips": {"any": "Conf 1.2", "scowling": "Anno 1 Disa .5", "smiling": "Este .6", "blank": "Anti .5"},
    "pointing": {"any": "Enga 1.2 Anti .4", "scowling": "Ange 1.2", "gaping": "Surp .6 Fear .4"},
    "head": {
        "any": "Disq 1 Doub .8",
        "crying": "Suff 1.2 Pain .6",
        "gaping": "Disq .6 Fear .4",
        "drowsy": "Pain 1",
    },
    "hanging": {"any": "Disc .6", "crying": "Sens .8 Sadn .4", "drowsy": "Fati .6", "smiling": "Peac .8"},
}

# What the company adds, by role.
_COMPANY = {
    "alone": "Disc .4 Year .4 Peac .3",
    "accompanied": "Enga .5",
    "comforted": "Sens 1.8 Affe 1 Sadn .8 Suff .4",
    "comforting": "Symp 3 Affe 1.4 Este .4 Enga .5",
    "shouted_at": "Emba 2 Sens 1.2 Fear .8 Disq .8",
    "shouting": "Ange 2.4 Anno 1.6 Disa 1 Conf .5",
    "cheering": "Exci 1.4 Happ 1 Enga 1 Este .6 Anti .4",
}

# What a strong expression adds. Descriptions seldom mention the strength; the image always shows it.
_STRONG = {
    "smiling": "Exci .8 Plea .6",
    "crying": "Suff .9 Pain .6",
    "scowling": "Ange 1.2",
    "gaping": "Fear .7 Surp .6",
}

# Valence, arousal, dominance on EMOTIC's scale of 1 to 10, as offsets from the middle.
_EXPRESSION_VAD = {
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

# Annotators' habits, which a VLM cannot know: some labels are ticked readily, others reluctantly.
_LABEL_BIAS = {
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
class SimulatedAnnotation:
    """What one simulated annotator says of a person.

    Attributes:
        labels: The labels ticked.
        dimensions: Valence, arousal and dominance, integers from 1 to 10; None if not given.
    """

    labels: tuple[str, ...]
    dimensions: tuple[int, int, int] | None


def _parse(text: str) -> dict[str, float]:
    """The weights in text such as "Happ 3 Plea 2.4", by label."""
    parts = text.split()
    return {_full_name(name): float(score) for name, score in zip(parts[::2], parts[1::2], strict=True)}


def _full_name(start: str) -> str:
    (name,) = (label for label in EMOTIC.labels if label.startswith(start))
    return name


_ADDED_BY_POSE = {
    pose: {expression: _parse(text) for expression, text in row.items()} for pose, row in _POSTURE.items()
}
_ADDED_BY_COMPANY = {role: _parse(text) for role, text in _COMPANY.items()}
_ADDED_WHEN_STRONG = {expression: _parse(text) for expression, text in _STRONG.items()}
_ADDED_BY_EXPRESSION = {
    place: {expression: _parse(text) for expression, text in row.items()} for place, row in _MEANING.items()
}


def score_emotions(place: str, person: DrawnPerson) -> dict[str, float]:
    """Every EMOTIC label with its score; `THRESHOLD` is where an average annotator ticks it."""
    scores = dict.fromkeys(EMOTIC.labels, 0.0)
    meaning = _ADDED_BY_EXPRESSION[place][person.expression]
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


def score_dimensions(place: str, person: DrawnPerson) -> tuple[float, float, float]:
    """Valence, arousal and dominance on EMOTIC's scale of 1 to 10, not rounded."""
    neutral = (0.0, 0.0, 0.0)
    parts = (
        _EXPRESSION_VAD[person.expression],
        _PLACE_VAD[place],
        _ROLE_VAD.get(person.role, neutral),
        _POSE_VAD.get(person.pose, neutral),
        (0.0, 0.9 if person.strong else -0.4, 0.0),
    )
    valence, arousal, dominance = (5.5 + sum(steps) for steps in zip(*parts, strict=True))
    return valence, arousal, dominance


def annotate(scene: Scene, rng: random.Random, annotators: int = 3) -> tuple[SimulatedAnnotation, ...]:
    """What simulated annotators say of the scene's subject. Each ticks at least one label."""
    scores = score_emotions(scene.place, scene.person)
    vad = score_dimensions(scene.place, scene.person)
    return tuple(_annotation(scores, vad, rng) for _ in range(annotators))


def _annotation(
    scores: dict[str, float], vad: tuple[float, float, float], rng: random.Random
) -> SimulatedAnnotation:
    leaning = rng.gauss(0, 0.25)
    noisy = {
        label: score + _LABEL_BIAS.get(label, 0.0) + leaning + rng.gauss(0, 0.45)
        for label, score in scores.items()
        if score > 0
    }
    ticked = tuple(label for label, score in noisy.items() if score > THRESHOLD)
    valence, arousal, dominance = (max(1, min(10, round(value + rng.gauss(0, 0.8)))) for value in vad)
    return SimulatedAnnotation(ticked or (max(noisy, key=noisy.__getitem__),), (valence, arousal, dominance))


def is_absent_from_train(scene: Scene) -> bool:
    """Whether the subject's expression at this place occurs in validation and test only."""
    return (scene.place, scene.person.expression) in ABSENT_FROM_TRAIN


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
