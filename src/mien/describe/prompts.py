"""Prompts as data: each wording has an id, and a changed wording is another prompt.

`<class_names>` in a template stands for the whole label list, never for a subject's own labels. A recipe
may bring its own wording with `prompt = "own:NAME"` and `prompt_text`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, TypedDict

from mien.digests import digest
from mien.errors import ConfigError, DataError, unknown_name
from mien.labels import LabelSet
from mien.media.images import Marking
from mien.recipe import DescribeOptions
from mien.types import Box

__all__ = [
    "PROMPTS",
    "ListedPrompt",
    "Prompt",
    "ReplyFormat",
    "get_prompt",
    "has_red_box",
    "list_prompts",
    "resolve_prompt",
    "select_prompt",
]

# Text, or JSON with a score for each label (see `structured_output`).
ReplyFormat = Literal["text", "scores"]

_LABELS: Final = "<class_names>"
_OWN: Final = "own:"
_BOXED, _UNBOXED = "the person in the red box", "the main person"
_MENTIONS_BOX: Final = re.compile(r"\b(red|bounding)[ -](box|rectangle|frame)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A prompt template. One that mentions the red box has a counterpart for images that show none."""

    id: str
    template: str
    needs_box: bool = False
    no_box: Prompt | None = None  # the counterpart
    reply_format: ReplyFormat = "text"

    def __post_init__(self) -> None:
        if not self.id or not self.template.strip():
            raise DataError("a prompt has no id or no text", hint="give every prompt an id and a template")
        if self.needs_box and (self.no_box is None or self.no_box.needs_box):
            raise DataError(
                f"prompt {self.id!r} needs a box and has no counterpart without one",
                hint="set no_box to a prompt for images without a box",
            )

    def render(self, label_set: LabelSet) -> str:
        """The text of the prompt, with the names of all labels in the order of the set."""
        return self.template.replace(_LABELS, ", ".join(label_set.labels))

    def digest(self) -> str:
        """A digest of the id and the template."""
        return digest({"id": self.id, "template": self.template})


def _pair(id: str, template: str, reply_format: ReplyFormat = "text") -> tuple[Prompt, Prompt]:
    """A prompt that mentions the red box, and its counterpart without it."""
    no_box = Prompt(id=f"{id}_no_box", template=template.replace(_BOXED, _UNBOXED), reply_format=reply_format)
    prompt = Prompt(id=id, template=template, needs_box=True, no_box=no_box, reply_format=reply_format)
    return prompt, no_box


# Give a changed wording a new id: the keys in stores depend on these, and a test pins their digests.
PROMPTS: Final[Mapping[str, Prompt]] = MappingProxyType(
    {
        prompt.id: prompt
        for prompt in (
            # Verbatim from Xenos et al., arXiv 2404.07078, section 3. The paper does not give a wording for
            # images without a box; "the main person" is in use elsewhere.
            *_pair(
                "paper",
                "Given the following list of emotions: <class_names> explain in detail which emotions are "
                "more suitable for describing how the person in the red box feels based on the image context",
            ),
            # A control: a text about the scene that does not mention emotions.
            Prompt(id="caption", template="Describe the picture."),
            # The paper's prompt at half its usual length, to measure what the length contributes.
            *_pair(
                "short",
                "Given the following list of emotions: <class_names> explain in at most 60 words which "
                "emotions are more suitable for describing how the person in the red box appears to feel "
                "based on the image context",
            ),
            # Evidence first, so that the emotions can be based on it.
            *_pair(
                "aspects",
                "Look at the person in the red box. Describe one after the other, in a sentence or two each: "
                "the face, the posture, and the surroundings with the other people in them. Then say which "
                "of the following emotions are more suitable for describing how the person in the red box "
                "appears to feel based on the image context: <class_names>",
            ),
            # A control: without the list, the text cannot copy its words.
            *_pair(
                "label_blind",
                "Explain in detail how the person in the red box appears to feel based on the image context",
            ),
            # Scores instead of text, to measure how well the model classifies by itself.
            *_pair(
                "structured",
                "Rate how well each of the following emotions describes how the person in the red box "
                "appears to feel based on the image context: <class_names>. Answer with one JSON object and "
                "nothing else. Its keys are exactly these emotions, and every value is a number from 0 (does "
                "not fit) to 1 (fits fully).",
                reply_format="scores",
            ),
        )
    }
)


def get_prompt(name: str) -> Prompt:
    """The built-in prompt with this id; UnknownNameError, with the nearest id, if there is none."""
    if name not in PROMPTS:
        raise unknown_name("prompt", name, PROMPTS)
    return PROMPTS[name]


class ListedPrompt(TypedDict):
    """A built-in prompt, as `mien describe prompts --json` prints it.

    Attributes:
        id: The name that a recipe gives as `describe.prompt`.
        digest: Digest of its wording and its settings.
        needs_box: Whether it mentions the red box.
        no_box: The name of the counterpart for images that show no box; None if it needs none.
        answer: What the model answers: "text", or "scores", which is JSON with a score for each label.
        template: The wording, with `<class_names>` where the labels are listed.
    """

    id: str
    digest: str
    needs_box: bool
    no_box: str | None
    answer: str
    template: str


def list_prompts() -> list[ListedPrompt]:
    """The built-in prompts as plain values, for tables."""
    return [
        {
            "id": prompt.id,
            "digest": prompt.digest(),
            "needs_box": prompt.needs_box,
            "no_box": None if prompt.no_box is None else prompt.no_box.id,
            "answer": prompt.reply_format,
            "template": prompt.template,
        }
        for prompt in PROMPTS.values()
    ]


# --- The prompt of a recipe --------------------------------------------------------------------------


def resolve_prompt(options: DescribeOptions) -> Prompt:
    """The prompt that `[describe]` names, or brings as `prompt_text`; ConfigError if it does both."""
    own = options.prompt.startswith(_OWN)
    if not own and options.prompt_text is None and options.prompt_text_no_box is None:
        return get_prompt(options.prompt)
    if not own:
        raise ConfigError(
            f"[describe] sets prompt_text, but the prompt {options.prompt!r} has its own text",
            hint=f'set prompt = "{_OWN}NAME", or remove prompt_text',
        )
    if options.prompt == _OWN or options.prompt_text is None or not options.prompt_text.strip():
        raise ConfigError(
            f"the prompt {options.prompt!r} has no {'name' if options.prompt == _OWN else 'text'}",
            hint=f'set prompt = "{_OWN}NAME" and prompt_text = "..." in [describe]',
        )
    return _own_prompt(options.prompt, options.prompt_text, options.prompt_text_no_box)


def _own_prompt(id: str, text: str, text_no_box: str | None) -> Prompt:
    """A prompt that needs a box if its text mentions one, or if it has another text for images without."""
    if text_no_box is None and not _MENTIONS_BOX.search(text):
        return Prompt(id=id, template=text)
    other = text.replace(_BOXED, _UNBOXED) if text_no_box is None else text_no_box
    if not other.strip() or _MENTIONS_BOX.search(other):
        raise ConfigError(
            f"the prompt {id!r} mentions a box, and has no text for images that show none",
            hint='set prompt_text_no_box, or call the subject "the person in the red box"',
        )
    no_box = Prompt(id=f"{id}_no_box", template=other)
    return Prompt(id=id, template=text, needs_box=True, no_box=no_box)


# --- The prompt for an image -------------------------------------------------------------------------


def has_red_box(boxes: Iterable[Box | None], marking: Marking) -> bool:
    """Whether a red box is drawn into any of the images with these boxes."""
    return marking.style == "red_box" and any(box is not None for box in boxes)


def select_prompt(prompt: Prompt, boxes: Iterable[Box | None], marking: Marking) -> Prompt:
    """The prompt, or its counterpart if it mentions a red box that the images do not show."""
    if not prompt.needs_box or prompt.no_box is None or has_red_box(boxes, marking):
        return prompt
    return prompt.no_box
