"""Prompts are data: worded as published, rendered with the whole list, matched to what can be seen."""

import pytest

from mien.describe.prompts import PROMPTS, Prompt, prompt, suited
from mien.errors import DataError, UnknownNameError
from mien.images import Marking
from mien.labels import BOLD, CAERS, EMOTIC
from mien.types import Box

BOX = Box(left=0, top=0, right=5, bottom=5)


def test_the_papers_prompt_is_word_for_word() -> None:
    assert prompt("paper").render(CAERS) == (
        "Given the following list of emotions: Anger, Disgust, Fear, Happy, Neutral, Sad, Surprise explain "
        "in detail which emotions are more suitable for describing how the person in the red box feels based "
        "on the image context"
    )


def test_without_a_box_only_the_person_is_named_otherwise() -> None:
    with_box, without = prompt("paper").template, prompt("paper_no_box").template
    assert with_box.replace("the person in the red box", "the main person") == without


def test_labels_keep_the_order_of_their_set() -> None:
    assert prompt("paper").render(EMOTIC) != prompt("paper").render(BOLD)
    assert ", ".join(BOLD.labels) in prompt("paper").render(BOLD)


def test_the_caption_names_no_emotion() -> None:
    asked = prompt("caption").render(EMOTIC).lower()
    assert not any(label.lower() in asked for label in EMOTIC.labels)
    assert "emotion" not in asked


def test_an_unknown_prompt_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError) as caught:
        prompt("papper")
    assert "'paper'" in caught.value.hint


def test_another_wording_or_id_is_another_digest() -> None:
    first = Prompt(id="a", template="What?")
    assert first.digest() == Prompt(id="a", template="What?").digest()
    assert first.digest() != Prompt(id="a", template="What ?").digest()
    assert first.digest() != Prompt(id="b", template="What?").digest()


def test_a_prompt_that_needs_a_box_names_a_counterpart_that_does_not() -> None:
    for one in PROMPTS.values():
        if one.needs_box:
            assert one.no_box is not None
            assert not prompt(one.no_box).needs_box


def test_a_prompt_without_counterpart_or_text_is_refused() -> None:
    with pytest.raises(DataError, match="counterpart"):
        Prompt(id="a", template="Who is in the box?", needs_box=True)
    with pytest.raises(DataError, match="no text"):
        Prompt(id="a", template=" ")


@pytest.mark.parametrize(
    ("box", "style", "expected"),
    [
        (BOX, "red_box", "paper"),
        (None, "red_box", "paper_no_box"),
        (BOX, "none", "paper_no_box"),
        (BOX, "crop", "paper_no_box"),
        (BOX, "blur_background", "paper_no_box"),
    ],
)
def test_a_red_box_is_spoken_of_only_where_one_is_drawn(box: Box | None, style: str, expected: str) -> None:
    assert suited(prompt("paper"), [box], Marking(style=style)).id == expected  # type: ignore[arg-type]


def test_a_prompt_that_needs_no_box_stays() -> None:
    assert suited(prompt("caption"), [None], Marking()).id == "caption"
