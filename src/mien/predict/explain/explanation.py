"""What an explanation says: one `Explanation` per person, with one `LabelExplanation` per label."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from typing_extensions import TypedDict  # pydantic reads no other before Python 3.12

from mien.errors import MienError, UsageError, unknown_name
from mien.evaluate.explanations.heat_map import HeatMap, HeatMapDict, draw_heat_map
from mien.files import atomic_write_json, atomic_write_text, make_folder
from mien.media.views import load_image
from mien.predict.explain.counterfactuals import Counterfactual, CounterfactualDict
from mien.predict.explain.curves import Faithfulness, FaithfulnessDict
from mien.types import Box, ImageRef

if TYPE_CHECKING:
    from PIL import Image

    from mien.predict.charts.chart import Chart

__all__ = [
    "AttentionShares",
    "Explanation",
    "ExplanationDict",
    "LabelExplanation",
    "NamedLabel",
    "ServedExplanation",
    "WordImportance",
    "map_title",
]

_SLUG: Final = 40  # characters of a label in the name of a file


class WordImportanceDict(TypedDict):
    """`WordImportance` as plain values."""

    word: str
    start: int
    end: int
    occlusion: float
    gradient: float | None
    names_label: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WordImportance:
    """A word of the description, and what it does to a label.

    Attributes:
        word: The word with the punctuation next to it.
        start: Its first character in the description.
        end: The character after its last one.
        occlusion: How much the score drops while the word is hidden, from -1 to 1; negative where it rises.
        gradient: What the word adds to the logit, by gradient times input; None if the model has no
            gradient. The learned bonus of a label that is named is included.
        names_label: Whether the word is a part of a mention of the label, which has a learned bonus.
    """

    word: str
    start: int
    end: int
    occlusion: float
    gradient: float | None
    names_label: bool

    def to_dict(self) -> WordImportanceDict:
        """Plain values for JSON."""
        return {
            "word": self.word,
            "start": self.start,
            "end": self.end,
            "occlusion": self.occlusion,
            "gradient": self.gradient,
            "names_label": self.names_label,
        }


class NamedLabelDict(TypedDict):
    """`NamedLabel` as plain values."""

    num_mentions: int
    bonus: float
    drop: float
    drop_of_bonus: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedLabel:
    """A description that names the label, in a model with a learned bonus for that (`model.label_names`).

    Attributes:
        num_mentions: How often the description names it. Hiding one of several mentions does not take the
            bonus away.
        bonus: What the logit gains.
        drop: How much the score drops while all mentions are hidden.
        drop_of_bonus: How much of that drop is due to the bonus alone: the drop if the words are read, but
            give no bonus.
    """

    num_mentions: int
    bonus: float
    drop: float
    drop_of_bonus: float

    def to_dict(self) -> NamedLabelDict:
        """Plain values for JSON."""
        return {
            "num_mentions": self.num_mentions,
            "bonus": self.bonus,
            "drop": self.drop,
            "drop_of_bonus": self.drop_of_bonus,
        }


class AttentionSharesDict(TypedDict):
    """`AttentionShares` as plain values."""

    photo: float
    other_image: float
    words: float
    queries: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionShares:
    """Where the final states of the queries come from, by attention rollout; the shares sum to 1.

    Attributes:
        photo: The share of image tokens that show the photo.
        other_image: The share of image tokens that do not show it: padding, and class or register tokens.
        words: The share of the tokens of the description.
        queries: The share of the queries themselves.
    """

    photo: float
    other_image: float
    words: float
    queries: float

    def to_dict(self) -> AttentionSharesDict:
        """Plain values for JSON."""
        return {
            "photo": self.photo,
            "other_image": self.other_image,
            "words": self.words,
            "queries": self.queries,
        }


class LabelExplanationDict(TypedDict):
    """`LabelExplanation` as plain values.

    Attributes:
        leading: The map to look at first, "attention" or "occlusion"; None without maps.
    """

    label: str
    score: float
    words: list[WordImportanceDict]
    naming: NamedLabelDict | None
    leading: str | None
    attention: HeatMapDict | None
    occlusion: HeatMapDict | None
    word_faithfulness: list[FaithfulnessDict]
    region_faithfulness: list[FaithfulnessDict]
    warnings: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelExplanation:
    """Why a label has its score.

    Attributes:
        label: The label.
        score: The score of the label from 0 to 1, as in the prediction.
        words: The words that the model reads, in order; empty if it reads none.
        naming: What the mentions of the label do; None if the description does not name it, or the model has
            no bonus for that.
        attention: Where the queries looked; None for a model without such queries. It is the same for all
            labels, unless every label has a query of its own.
        occlusion: How much the score drops while a region is hidden; None if the model sees no image.
        word_faithfulness: How faithful "occlusion" and "gradient" are for words; empty if not measured.
        region_faithfulness: How faithful "occlusion" and "attention" are for regions; empty if not measured.
    """

    label: str
    score: float
    words: tuple[WordImportance, ...] = ()
    naming: NamedLabel | None = None
    attention: HeatMap | None = None
    occlusion: HeatMap | None = None
    word_faithfulness: tuple[Faithfulness, ...] = ()
    region_faithfulness: tuple[Faithfulness, ...] = ()

    @property
    def leading(self) -> HeatMap | None:
        """The map to look at first: occlusion, unless attention is faithful and predicts the score better."""
        if self.occlusion is None:
            return self.attention
        measured = {item.method: item for item in self.region_faithfulness}
        attention, occlusion = measured.get("attention"), measured.get("occlusion")
        if self.attention is None or attention is None or not attention.is_faithful:
            return self.occlusion
        return self.attention if occlusion is None or attention.gain > occlusion.gain else self.occlusion

    @property
    def maps(self) -> tuple[HeatMap, ...]:
        """Both maps, the leading one first."""
        maps = [heat_map for heat_map in (self.attention, self.occlusion) if heat_map is not None]
        return tuple(sorted(maps, key=lambda heat_map: heat_map is not self.leading))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was measured and found unfaithful, in sentences."""
        found = []
        for parts, items in (("regions", self.region_faithfulness), ("words", self.word_faithfulness)):
            found += [
                f"{item.method} of {parts} is not faithful for {self.label}: hiding what it calls important "
                f"changes the score no sooner than a random order (gain {item.gain:+.3f}, chance up to "
                f"{item.limit:+.3f})"
                for item in items
                if not item.is_faithful
            ]
        return tuple(found)

    def top_words(self, k: int) -> tuple[WordImportance, ...]:
        """The `k` words whose hiding changes the score most, either way."""
        return tuple(sorted(self.words, key=lambda word: -abs(word.occlusion))[:k])

    def to_dict(self) -> LabelExplanationDict:
        """Plain values for JSON."""
        leading = self.leading
        return {
            "label": self.label,
            "score": self.score,
            "words": [word.to_dict() for word in self.words],
            "naming": None if self.naming is None else self.naming.to_dict(),
            "leading": None if leading is None else leading.method,
            "attention": None if self.attention is None else self.attention.to_dict(),
            "occlusion": None if self.occlusion is None else self.occlusion.to_dict(),
            "word_faithfulness": [item.to_dict() for item in self.word_faithfulness],
            "region_faithfulness": [item.to_dict() for item in self.region_faithfulness],
            "warnings": list(self.warnings),
        }


class ServedExplanation(TypedDict):
    """`Explanation` as plain values, without the photo, which a client of a service knows."""

    person: int
    box: list[float] | None
    scores: dict[str, float]
    description: str | None
    labels: list[LabelExplanationDict]
    attention_shares: AttentionSharesDict | None
    counterfactuals: list[CounterfactualDict]
    notes: list[str]


class ExplanationDict(ServedExplanation):
    """`Explanation` as plain values."""

    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why one person in a photo has these scores.

    Attributes:
        source: The path of the photo, or its name if it was given as pixels.
        image: Where the pixels are.
        person: The number of the person in the photo.
        box: The person's box in pixels of the upright photo; None if the whole photo is the subject.
        scores: A score from 0 to 1 per label, in label set order; calibrated if the run was evaluated.
        description: What the model read; None if it reads no text or there is none.
        labels: The labels that are explained, in the order they were asked for, or by score.
        attention_shares: Where the model's queries looked in all; None for a model without such queries.
        counterfactuals: The scores if one thing were different.
        notes: What a reader should know, in sentences.
        unsure_because: Why the model is not sure of its best label; "" if it is sure or cannot tell. Not in
            JSON, where the prediction has "sure".

    Example:
        >>> results = predictor("photo.jpg", boxes=[(40, 30, 210, 380)])  # doctest: +SKIP
        >>> explanation = results[0].explain()  # doctest: +SKIP
        >>> explanation.labels[0].top_words(3)  # doctest: +SKIP
        >>> explanation.save("why")  # doctest: +SKIP
    """

    source: str
    image: ImageRef
    person: int
    box: Box | None
    scores: Mapping[str, float]
    description: str | None
    labels: tuple[LabelExplanation, ...]
    attention_shares: AttentionShares | None
    counterfactuals: tuple[Counterfactual, ...]
    notes: tuple[str, ...] = ()
    unsure_because: str = ""

    def __getitem__(self, label: str) -> LabelExplanation:
        """The explanation of a label; UnknownNameError if it is not explained."""
        for item in self.labels:
            if item.label == label:
                return item
        raise unknown_name("explained label", label, [item.label for item in self.labels])

    @property
    def errors(self) -> tuple[MienError, ...]:
        """Why some counterfactuals have no scores."""
        return tuple(item.error for item in self.counterfactuals if item.error is not None)

    @property
    def all_notes(self) -> tuple[str, ...]:
        """The notes, and what was measured and found unfaithful."""
        return (*self.notes, *(warning for item in self.labels for warning in item.warnings))

    def to_dict(self) -> ExplanationDict:
        """Plain values for JSON."""
        shares = self.attention_shares
        return {
            "source": self.source,
            "person": self.person,
            "box": None if self.box is None else list(self.box.as_tuple()),
            "scores": dict(self.scores),
            "description": self.description,
            "labels": [item.to_dict() for item in self.labels],
            "attention_shares": None if shares is None else shares.to_dict(),
            "counterfactuals": [item.to_dict() for item in self.counterfactuals],
            "notes": list(self.notes),
        }

    def to_json(self) -> str:
        """`to_dict` as a JSON string."""
        return json.dumps(self.to_dict(), ensure_ascii=False)

    def draw(self, label: str, method: str | None = None) -> Image.Image:
        """The photo with a map of a label drawn on it.

        Args:
            label: An explained label.
            method: "attention" or "occlusion"; by default the leading one.

        Raises:
            UnknownNameError: The label is not explained.
            UsageError: The model has no such map.
            DataError: The photo cannot be read.
        """
        explained = self[label]
        maps = {heat_map.method: heat_map for heat_map in explained.maps}
        if not maps or (method is not None and method not in maps):
            raise UsageError(
                f"the model has no map by {method or 'attention or occlusion'}",
                hint=f"it has: {', '.join(maps) or 'none, because it sees no image'}",
            )
        chosen = explained.maps[0] if method is None else maps[method]
        loaded = load_image(self.image)
        return draw_heat_map(loaded.image, chosen, loaded.place(self.box), map_title(explained, chosen))

    def plot(self, label: str | None = None, *, top: int = 10) -> Chart:
        """A chart of the words that matter most for a label and of its counterfactuals, as SVG.

        Args:
            label: An explained label; by default the first.
            top: How many words.

        Raises:
            UnknownNameError: The label is not explained.
        """
        from mien.predict.explain.page import explanation_chart

        return explanation_chart(self, self.labels[0] if label is None else self[label], top=top)

    def save(self, folder: str | Path) -> tuple[Path, ...]:
        """Writes `explanation.json`, a page `explanation.html`, and a JPEG per label and map.

        Args:
            folder: Is created if it does not exist.

        Returns:
            The files.

        Raises:
            DataError: The photo cannot be read, or a file cannot be written.
        """
        from mien.predict.explain.page import explanation_page
        from mien.predict.render import save_image

        folder = Path(folder)
        make_folder(folder)
        files = [folder / "explanation.json", folder / "explanation.html"]
        atomic_write_json(files[0], self.to_dict())
        atomic_write_text(files[1], explanation_page(self))
        for number, item in enumerate(self.labels, start=1):
            for heat_map in item.maps:
                path = folder / f"{number}-{_slug(item.label)}-{heat_map.method}.jpg"
                save_image(self.draw(item.label, heat_map.method), path)
                files.append(path)
        return tuple(files)

    def _repr_html_(self) -> str:
        from mien.predict.explain.page import explanation_html

        return explanation_html(self)


def map_title(explained: LabelExplanation, heat_map: HeatMap) -> str:
    """What a map shows, in a few words."""
    if heat_map.method == "attention":
        return "where the queries looked"
    return f"for {explained.label}: hiding it lowers the score"


def _slug(label: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")[:_SLUG].strip("-") or "label"
