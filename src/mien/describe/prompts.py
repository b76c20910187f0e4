"""What an engine is asked, as data: a wording has an id, and another wording is another prompt.

Goes in: a name, a label set, whether the subject's box can be seen. Comes out: the text to ask.
Knows nothing about: chat templates, image tokens, engines.

`<class_names>` in a template stands for the whole label list, never for a subject's own labels. A recipe
may bring a wording of its own, as `prompt = "own:NAME"` with `prompt_text`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Literal

from mien.digests import digest
from mien.errors import ConfigError, DataError, unknown_name
from mien.labels import LabelSet
from mien.media.images import Marking
from mien.recipe import DescribeOptions
from mien.types import Box

__all__ = ["PROMPTS", "Answer", "Prompt", "asked", "listing", "prompt", "shows_red_box", "suited"]

# What comes back: words, or JSON with a score for each label (see `structured`).
Answer = Literal["words", "scores"]

_LABELS: Final = "<class_names>"
_OWN: Final = "own:"
_BOXED, _UNBOXED = "the person in the red box", "the main person"
_SPEAKS_OF_A_BOX: Final = re.compile(r"\b(red|bounding)[ -](box|rectangle|frame)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A wording. One that speaks of the red box has a counterpart for pictures that show none."""

    id: str
    template: str
    needs_box: bool = False
    no_box: Prompt | None = None  # the counterpart
    answer: Answer = "words"

    def __post_init__(self) -> None:
        if not self.id or not self.template.strip():
            raise DataError("a prompt has no id or no text", hint="give every prompt an id and a template")
        if self.needs_box and (self.no_box is None or self.no_box.needs_box):
            raise DataError(
                f"prompt {self.id!r} needs a box and names no counterpart without one",
                hint="name a prompt that can be asked of a picture without a box",
            )

    def render(self, label_set: LabelSet) -> str:
        """The text to ask, with the names of all labels in the set's order."""
        return self.template.replace(_LABELS, ", ".join(label_set.labels))

    def digest(self) -> str:
        """Changes with the id or the wording."""
        return digest({"id": self.id, "template": self.template})


def _pair(id: str, template: str, answer: Answer = "words") -> tuple[Prompt, Prompt]:
    """A prompt that speaks of the red box, and the same without it."""
    without = Prompt(id=f"{id}_no_box", template=template.replace(_BOXED, _UNBOXED), answer=answer)
    return Prompt(id=id, template=template, needs_box=True, no_box=without, answer=answer), without


# A changed wording is a new id: stores hold answers under these, and a test holds their digests.
PROMPTS: Final[Mapping[str, Prompt]] = MappingProxyType(
    {
        prompt.id: prompt
        for prompt in (
            # Xenos et al., arXiv 2404.07078, section 3: word for word. The paper does not say how it asks
            # where there is no box; others write "the main person".
            *_pair(
                "paper",
                "Given the following list of emotions: <class_names> explain in detail which emotions are "
                "more suitable for describing how the person in the red box feels based on the image context",
            ),
            # A control: words about the scene that were not asked to be about emotions.
            Prompt(id="caption", template="Describe the picture."),
            # As the paper asks, in half of its usual length: what does the length cost?
            *_pair(
                "short",
                "Given the following list of emotions: <class_names> explain in at most 60 words which "
                "emotions are more suitable for describing how the person in the red box appears to feel "
                "based on the image context",
            ),
            # Evidence first, so that the emotions can rest on it.
            *_pair(
                "aspects",
                "Look at the person in the red box. Describe one after the other, in a sentence or two each: "
                "the face, the posture, and the surroundings with the other people in them. Then say which "
                "of the following emotions are more suitable for describing how the person in the red box "
                "appears to feel based on the image context: <class_names>",
            ),
            # A control: without the list no answer can lean on its words.
            *_pair(
                "label_blind",
                "Explain in detail how the person in the red box appears to feel based on the image context",
            ),
            # Numbers in place of words: how well does the model judge by itself?
            *_pair(
                "structured",
                "Rate how well each of the following emotions describes how the person in the red box "
                "appears to feel based on the image context: <class_names>. Answer with one JSON object and "
                "nothing else. Its keys are exactly these emotions, and every value is a number from 0 (does "
                "not fit) to 1 (fits fully).",
                answer="scores",
            ),
        )
    }
)


def prompt(name: str) -> Prompt:
    """The shipped prompt of this name; UnknownNameError, with the nearest one, if there is none."""
    if name not in PROMPTS:
        raise unknown_name("prompt", name, PROMPTS)
    return PROMPTS[name]


# --- A recipe's own wording --------------------------------------------------------------------------


def asked(options: DescribeOptions) -> Prompt:
    """The prompt that `[describe]` names or brings; ConfigError if it does neither, or both."""
    own = options.prompt.startswith(_OWN)
    if not own and options.prompt_text is None and options.prompt_text_no_box is None:
        return prompt(options.prompt)
    if not own:
        raise ConfigError(
            f"[describe] brings a prompt_text for the prompt {options.prompt!r}, which has its own",
            hint=f'write prompt = "{_OWN}NAME", or take prompt_text out',
        )
    if options.prompt == _OWN or options.prompt_text is None or not options.prompt_text.strip():
        raise ConfigError(
            f"the prompt {options.prompt!r} has no {'name' if options.prompt == _OWN else 'wording'}",
            hint=f'write prompt = "{_OWN}NAME" and prompt_text = "..." in [describe]',
        )
    return _own(options.prompt, options.prompt_text, options.prompt_text_no_box)


def _own(id: str, text: str, text_no_box: str | None) -> Prompt:
    """A wording needs a box if it says so, or if there is another one for pictures without."""
    if text_no_box is None and not _SPEAKS_OF_A_BOX.search(text):
        return Prompt(id=id, template=text)
    other = text.replace(_BOXED, _UNBOXED) if text_no_box is None else text_no_box
    if not other.strip() or _SPEAKS_OF_A_BOX.search(other):
        raise ConfigError(
            f"the prompt {id!r} speaks of a box, and there is no wording for pictures that show none",
            hint='give it as prompt_text_no_box, or call the subject "the person in the red box"',
        )
    without = Prompt(id=f"{id}_no_box", template=other)
    return Prompt(id=id, template=text, needs_box=True, no_box=without)


# --- Which to ask, and what there is -----------------------------------------------------------------


def shows_red_box(boxes: Iterable[Box | None], marking: Marking) -> bool:
    """Whether a red box is drawn into any of the pictures with these boxes."""
    return marking.style == "red_box" and any(box is not None for box in boxes)


def suited(asked: Prompt, boxes: Iterable[Box | None], marking: Marking) -> Prompt:
    """The prompt itself, or its counterpart if it speaks of a red box that the pictures do not show."""
    if not asked.needs_box or asked.no_box is None or shows_red_box(boxes, marking):
        return asked
    return asked.no_box


def listing() -> list[dict[str, Any]]:
    """The shipped prompts as plain values, for tables: id, digest, box, counterpart, kind of answer, text."""
    return [
        {
            "id": one.id,
            "digest": one.digest(),
            "needs_box": one.needs_box,
            "no_box": None if one.no_box is None else one.no_box.id,
            "answer": one.answer,
            "template": one.template,
        }
        for one in PROMPTS.values()
    ]
