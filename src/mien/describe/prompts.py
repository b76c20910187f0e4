"""What an engine is asked, as data: a wording has an id, and another wording is another prompt.

Goes in: a name, a label set, whether the subject's box can be seen. Comes out: the text to ask.
Knows nothing about: chat templates, image tokens, engines.

`<class_names>` in a template stands for the whole label list, never for a subject's own labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from mien.digests import digest
from mien.errors import DataError, unknown_name
from mien.images import Marking
from mien.labels import LabelSet
from mien.types import Box

__all__ = ["PROMPTS", "Prompt", "prompt", "shows_red_box", "suited"]

_LABELS: Final = "<class_names>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A wording. One that speaks of the red box names its counterpart for pictures that show none."""

    id: str
    template: str
    needs_box: bool = False
    no_box: str | None = None  # id of the counterpart

    def __post_init__(self) -> None:
        if not self.id or not self.template.strip():
            raise DataError("a prompt has no id or no text", hint="give every prompt an id and a template")
        if self.needs_box and self.no_box is None:
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


def _table(prompts: Iterable[Prompt]) -> Mapping[str, Prompt]:
    return MappingProxyType({prompt.id: prompt for prompt in prompts})


PROMPTS: Final = _table(
    (
        # Xenos et al., arXiv 2404.07078, section 3: word for word.
        Prompt(
            id="paper",
            template=(
                "Given the following list of emotions: <class_names> explain in detail which emotions are "
                "more suitable for describing how the person in the red box feels based on the image context"
            ),
            needs_box=True,
            no_box="paper_no_box",
        ),
        # The paper does not say how it asks where there is no box; others write "the main person".
        Prompt(
            id="paper_no_box",
            template=(
                "Given the following list of emotions: <class_names> explain in detail which emotions are "
                "more suitable for describing how the main person feels based on the image context"
            ),
        ),
        # A control: words about the scene that were not asked to be about emotions.
        Prompt(id="caption", template="Describe the picture."),
    )
)


def prompt(name: str) -> Prompt:
    """The prompt of this name; UnknownNameError, with the nearest one, if there is none."""
    if name not in PROMPTS:
        raise unknown_name("prompt", name, PROMPTS)
    return PROMPTS[name]


def shows_red_box(boxes: Iterable[Box | None], marking: Marking) -> bool:
    """Whether a red box is drawn into any of the pictures with these boxes."""
    return marking.style == "red_box" and any(box is not None for box in boxes)


def suited(asked: Prompt, boxes: Iterable[Box | None], marking: Marking) -> Prompt:
    """The prompt itself, or its counterpart if it speaks of a red box that the pictures do not show."""
    if not asked.needs_box or asked.no_box is None or shows_red_box(boxes, marking):
        return asked
    return prompt(asked.no_box)
