"""Prompts: worded as published, rendered with the whole label list, matched to what the image shows."""

from collections.abc import Callable
from typing import Any

import pytest

from mien.describe.fake import FakeEngine
from mien.describe.generate import describe
from mien.describe.prompts import PROMPTS, Prompt, get_prompt, list_prompts, resolve_prompt, select_prompt
from mien.describe.requests import RequestBuilder
from mien.describe.store.lookup import lookup_descriptions
from mien.describe.store.store import Store
from mien.errors import ConfigError, DataError, UnknownNameError
from mien.labels import BOLD, CAERS, EMOTIC
from mien.media.images import Marking
from mien.recipe import DescribeOptions
from mien.types import Box, Subject

BOX = Box(left=0, top=0, right=5, bottom=5)

# Keys in stores depend on these digests. A changed wording gets a new id and a new line here; existing lines
# never change.
DIGESTS = {
    "paper": "243fdabf87d975a326bab401a1da2b6ddc58cb93015b560184d54cb288f2b5db",
    "paper_no_box": "a811c0a657f17a76d66b8cf746771497fe98d506e66e7d71fa49f76c6e41a665",
    "caption": "4ef832e69376214bb1c5ddfb0c45b653faef7ba9b67cb3e93604133f19b7cd77",
    "short": "38f03be94590ff6e95fb3ff50b727e99e418675f57b05992ce4494754bd017ed",
    "short_no_box": "2fc21524c2426326cd92cb61831951d591789f79ba3dad1cab2d5a696f9117bf",
    "aspects": "77d1dc73d0cc68cf6a9ccb29eede97bcb133497c4386e3e1ab8a86ef2b0a5e9e",
    "aspects_no_box": "75c6f76eb57badcac86d463cb1725ed326443ec69695cc01768428d4900cf4c0",
    "label_blind": "af78ebcfc832cd7e3497e75a126bc9155f49555c499f8da73eeb8fefc3b96c34",
    "label_blind_no_box": "e72c6aef7eafd7bcc373252823561c80a563929e4252dbdbf15f9b675c1c40c7",
    "structured": "457b62ecdab4f682cbc2907e6656d00d555fc4c3cecaebfcd09c36d31ae74c63",
    "structured_no_box": "1dcf1bcecb605565fd8834d2478dd7fc65f52c2b98719327bff6a9aef3503cf3",
}


def test_a_changed_wording_has_a_new_id() -> None:
    assert {one.id: one.digest() for one in PROMPTS.values()} == DIGESTS


def test_the_papers_prompt_is_verbatim() -> None:
    assert get_prompt("paper").render(CAERS) == (
        "Given the following list of emotions: Anger, Disgust, Fear, Happy, Neutral, Sad, Surprise explain "
        "in detail which emotions are more suitable for describing how the person in the red box feels based "
        "on the image context"
    )


def test_the_counterpart_without_a_box_differs_only_in_the_person() -> None:
    with_box, without = get_prompt("paper").template, get_prompt("paper_no_box").template
    assert with_box.replace("the person in the red box", "the main person") == without


def test_labels_keep_the_order_of_their_set() -> None:
    assert get_prompt("paper").render(EMOTIC) != get_prompt("paper").render(BOLD)
    assert ", ".join(BOLD.labels) in get_prompt("paper").render(BOLD)


def test_the_caption_names_no_emotion() -> None:
    rendered = get_prompt("caption").render(EMOTIC).lower()
    assert not any(label.lower() in rendered for label in EMOTIC.labels)
    assert "emotion" not in rendered


def test_an_unknown_prompt_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError) as caught:
        get_prompt("papper")
    assert "'paper'" in caught.value.hint


def test_the_digest_depends_on_id_and_wording() -> None:
    first = Prompt(id="a", template="What?")
    assert first.digest() == Prompt(id="a", template="What?").digest()
    assert first.digest() != Prompt(id="a", template="What ?").digest()
    assert first.digest() != Prompt(id="b", template="What?").digest()


def test_a_prompt_that_mentions_a_box_needs_one_and_has_a_counterpart_without() -> None:
    for one in PROMPTS.values():
        assert one.needs_box == ("red box" in one.template)
        if one.needs_box:
            assert one.no_box is get_prompt(f"{one.id}_no_box")
            assert one.no_box.template == one.template.replace("the person in the red box", "the main person")
            assert one.no_box.reply_format == one.reply_format


@pytest.mark.parametrize("name", ["label_blind", "label_blind_no_box", "caption"])
def test_some_prompts_list_no_labels(name: str) -> None:
    rendered = get_prompt(name).render(EMOTIC)
    assert rendered == get_prompt(name).render(CAERS) == get_prompt(name).template
    assert not any(label.lower() in rendered.lower() for label in EMOTIC.labels)


def test_all_other_prompts_list_all_labels() -> None:
    others = PROMPTS.keys() - {"label_blind", "label_blind_no_box", "caption"}
    assert all(", ".join(EMOTIC.labels) in get_prompt(name).render(EMOTIC) for name in others)


def test_every_prompt_is_listed() -> None:
    rows = list_prompts()
    assert [row["id"] for row in rows] == list(PROMPTS)
    assert rows[0] == {
        "id": "paper",
        "digest": DIGESTS["paper"],
        "needs_box": True,
        "no_box": "paper_no_box",
        "answer": "text",
        "template": get_prompt("paper").template,
    }
    assert {row["id"] for row in rows if row["answer"] == "scores"} == {"structured", "structured_no_box"}


def test_a_prompt_without_counterpart_or_text_is_refused() -> None:
    with pytest.raises(DataError, match="counterpart"):
        Prompt(id="a", template="Who is in the box?", needs_box=True)
    with pytest.raises(DataError, match="counterpart"):
        Prompt(id="a", template="Who is in the box?", needs_box=True, no_box=get_prompt("paper"))
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
def test_a_red_box_is_mentioned_only_if_one_is_drawn(box: Box | None, style: str, expected: str) -> None:
    assert select_prompt(get_prompt("paper"), [box], Marking(style=style)).id == expected  # type: ignore[arg-type]


def test_a_prompt_without_a_box_is_always_used() -> None:
    assert select_prompt(get_prompt("caption"), [None], Marking()).id == "caption"


# --- A prompt in the recipe ---


def own(text: str | None, other: str | None = None, name: str = "own:mine") -> DescribeOptions:
    return DescribeOptions(prompt=name, prompt_text=text, prompt_text_no_box=other)


def test_a_recipe_names_a_built_in_prompt_or_sets_a_text() -> None:
    assert resolve_prompt(DescribeOptions()) is get_prompt("paper")
    mine = resolve_prompt(own("Which of <class_names> is it?"))
    assert (mine.id, mine.needs_box, mine.no_box) == ("own:mine", False, None)
    assert "Anger, Disgust" in mine.render(CAERS)
    assert mine.digest() == Prompt(id="own:mine", template="Which of <class_names> is it?").digest()
    assert mine.digest() != resolve_prompt(own("Which one of <class_names> is it?")).digest()


def test_a_text_that_mentions_the_red_box_gets_a_counterpart() -> None:
    mine = resolve_prompt(own("Is the person in the red box glad?"))
    assert mine.needs_box
    assert select_prompt(mine, [BOX], Marking()) is mine
    other = select_prompt(mine, [None], Marking())
    assert (other.id, other.template) == ("own:mine_no_box", "Is the main person glad?")


def test_a_text_for_images_without_a_box_can_be_set() -> None:
    mine = resolve_prompt(own("Who is marked?", "Who is it?"))
    assert mine.needs_box
    assert select_prompt(mine, [None], Marking()).template == "Who is it?"
    # A box that is not a mark.
    assert not resolve_prompt(own("What is in the lunch box?")).needs_box


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (own("Look into the red box."), "has no text for images that show none"),
        (own("Look into the red box.", "Look at the bounding box."), "no text for images"),
        (own("Look into the red box.", " "), "no text for images"),
        (own(None), "has no text"),
        (own("  "), "has no text"),
        (own(None, "Who is it?"), "has no text"),
        (own("Who?", name="own:"), "has no name"),
        (own("Who?", name="paper"), "has its own text"),
        (own(None, "Who?", name="paper"), "has its own text"),
    ],
)
def test_an_incomplete_prompt_is_refused(options: DescribeOptions, match: str) -> None:
    with pytest.raises(ConfigError, match=match) as caught:
        resolve_prompt(options)
    assert "prompt_text" in caught.value.hint


def test_another_text_gives_another_description(
    subjects: Callable[..., list[Subject]], store: Store, request_options: dict[str, Any]
) -> None:
    one = [*subjects(1)]
    engine = FakeEngine()
    first = RequestBuilder(engine=engine, **request_options | {"prompt": resolve_prompt(own("Who is it?"))})
    second = RequestBuilder(engine=engine, **request_options | {"prompt": resolve_prompt(own("Who is she?"))})
    assert describe(one, first, store).done == 1
    assert lookup_descriptions(one, second, store).missing == ("s0",)
    assert describe(one, second, store).done == 1
    assert {item.prompt_id for item in store} == {"own:mine"}
