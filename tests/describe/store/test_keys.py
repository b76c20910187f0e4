"""A key changes with everything that may change the text, and with nothing else."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mien.describe import requests as requests_module
from mien.describe.fake import FakeEngine, FakeOptions
from mien.describe.prompts import Prompt, get_prompt
from mien.describe.requests import RequestBuilder
from mien.describe.store.keys import SharedKeyParts, description_key, unreadable_key
from mien.digests import digest
from mien.errors import DataError
from mien.labels import BOLD, CAERS, EMOTIC
from mien.media.images import ImageIdentity, Marking, identify_image, image_digest
from mien.types import MAX_EDGE, Box, ImageRef, Subject

BOX = Box(left=1, top=2, right=9, bottom=8)
PARTS: dict[str, Any] = {
    "image_digests": ["ab"],
    "frames": [None],
    "boxes": [BOX],
    "marking_digest": "m",
    "fit": {"mode": "letterbox", "size": 32},
    "prompt_digest": "p",
    "question": "How?",
    "engine_signature": {"engine": "fake", "max_new_tokens": 8},
}
OTHER: dict[str, Any] = {
    "image_digests": ["ac"],
    "frames": [0],
    "boxes": [None],
    "marking_digest": "n",
    "fit": None,
    "prompt_digest": "q",
    "question": "Who?",
    "engine_signature": {"engine": "fake", "max_new_tokens": 9},
}


def key_of(**parts: Any) -> str:
    names = ("image_digests", "frames", "boxes", "clip")
    of_subject = {name: value for name, value in parts.items() if name in names}
    shared = {name: value for name, value in parts.items() if name not in names}
    return description_key(SharedKeyParts(**shared), **of_subject)


def test_a_key_never_changes() -> None:
    # If this fails, every stored description would be generated again.
    assert key_of(**PARTS) == "aa6bc28bbedb5c999945041a06837514f7cde12f956fe182b12d2fdb632a350c"


@pytest.mark.parametrize("part", PARTS)
def test_each_part_gives_another_key(part: str) -> None:
    assert key_of(**{**PARTS, part: OTHER[part]}) != key_of(**PARTS)


def test_the_order_of_a_signature_does_not_matter() -> None:
    signature = {"max_new_tokens": 8, "engine": "fake"}
    assert key_of(**{**PARTS, "engine_signature": signature}) == key_of(**PARTS)


def test_integer_and_float_edges_give_the_same_key() -> None:
    whole = Box(left=1, top=2, right=9, bottom=8)
    broken = Box(left=1.0, top=2.0, right=9.0, bottom=8.0)
    assert key_of(**{**PARTS, "boxes": [whole]}) == key_of(**{**PARTS, "boxes": [broken]})


@given(st.lists(st.floats(-1e4, 1e4), min_size=4, max_size=4), st.integers(0, 3), st.floats(1e-3, 1e3))
def test_every_edge_of_the_box_matters(edges: list[float], edge: int, by: float) -> None:
    left, top, right, bottom = edges
    box = Box(left=left, top=top, right=left + abs(right) + 1e5, bottom=top + abs(bottom) + 1e5)
    moved = list(box.as_tuple())
    moved[edge] += by
    other = Box.from_tuple((moved[0], moved[1], moved[2], moved[3]))
    assert key_of(**{**PARTS, "boxes": [box]}) != key_of(**{**PARTS, "boxes": [other]})


def test_lists_of_different_lengths_are_refused() -> None:
    with pytest.raises(DataError, match="2 images"):
        key_of(**{**PARTS, "image_digests": ["a", "b"]})


def test_an_id_with_a_lone_surrogate_has_a_key() -> None:
    assert unreadable_key("caf\udce9", "p", {}) != unreadable_key("caf", "p", {})


# --- From subjects -----------------------------------------------------------------------------------


def key(subject: Subject, **changed: Any) -> str:
    asked: dict[str, Any] = {
        "engine": FakeEngine(),
        "prompt": get_prompt("paper"),
        "label_set": CAERS,
        "marking": Marking(),
        **changed,
    }
    return RequestBuilder(**asked).build(subject).key


@pytest.fixture
def subject(subjects: Callable[..., list[Subject]]) -> Subject:
    return subjects(1)[0]


def test_path_and_id_do_not_matter(subject: Subject, tmp_path: Path) -> None:
    path = subject.images[0].path
    copy = tmp_path / "sub" / "other name.png"
    copy.parent.mkdir()
    shutil.copy(path, copy)
    assert key(Subject.still("other", copy, subject.boxes[0])) == key(subject)


@pytest.mark.parametrize(
    "changed",
    [
        {"engine": FakeEngine(FakeOptions(num_words=3))},
        {"prompt": get_prompt("caption")},
        {"prompt": Prompt(id="paper", template=get_prompt("paper").template + ".")},
        {"label_set": EMOTIC},
        {"marking": Marking(width=0.02)},
        {"marking": Marking(style="none")},
        {"marking": Marking(style="crop")},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_every_option_of_the_request_matters(subject: Subject, changed: dict[str, Any]) -> None:
    assert key(subject, **changed) != key(subject)


def test_the_order_of_the_labels_matters(subject: Subject) -> None:
    assert key(subject, label_set=EMOTIC) != key(subject, label_set=BOLD)


def test_engine_options_that_do_not_change_the_text_do_not_matter(subject: Subject) -> None:
    slow = FakeEngine(FakeOptions(refuse=("s0",), poison=("s1",), delay=0.5, retryable=True))
    assert key(subject, engine=slow) == key(subject)


def test_the_bytes_and_the_box_matter(subject: Subject) -> None:
    path = subject.images[0].path
    before = key(subject)
    assert key(Subject.still("s0", path, BOX)) != before
    assert key(Subject.still("s0", path)) != before
    Image.new("RGB", (32, 24), "black").save(path)
    assert key(subject) != before


def test_the_frame_matters(subject: Subject) -> None:
    path = subject.images[0].path
    first, second = (Subject(id="s", images=(ImageRef(path=path, frame=n),), boxes=(BOX,)) for n in range(2))
    assert key(first) != key(second)


def test_without_a_visible_box_the_marking_does_not_matter(subject: Subject) -> None:
    path = subject.images[0].path
    bare = key(Subject.still("s0", path))
    assert bare == key(Subject.still("s0", path), marking=Marking(style="crop"))
    assert bare == key(subject, marking=Marking(style="none"))


@pytest.mark.parametrize("marking", ["red_box", "none"])
@pytest.mark.parametrize("asked", ["paper", "caption"])
@pytest.mark.parametrize("box", [BOX, None])
def test_a_request_has_the_key_of_its_parts(
    subject: Subject, marking: Any, asked: str, box: Box | None
) -> None:
    photo = subject.images[0].path
    # Shared parts are serialized once; the key must still be the digest of all parts together.
    engine, style = FakeEngine(), Marking(style=marking)
    seen = box if marking == "red_box" else None
    words = get_prompt(asked if seen or asked == "caption" else "paper_no_box")
    key = digest(
        {
            "version": 1,
            "images": [image_digest(photo)],
            "frames": [None],
            "boxes": [None if seen is None else [float(edge) for edge in seen.as_tuple()]],
            "marking": (style if seen else Marking(style="none")).digest(),
            "fit": None,
            "prompt": words.digest(),
            "question": words.render(EMOTIC),
            "engine": dict(engine.signature),
        }
    )
    request_builder = RequestBuilder(engine=engine, prompt=get_prompt(asked), label_set=EMOTIC, marking=style)
    assert request_builder.build(Subject.still("s", photo, box)).key == key


def test_a_file_is_read_once_for_all_people_in_it_and_again_after_a_change(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo, read = subject.images[0].path, []

    def counted(path: Path) -> ImageIdentity:
        read.append(path)
        return identify_image(path)

    monkeypatch.setattr(requests_module, "identify_image", counted)
    request_builder = RequestBuilder(
        engine=FakeEngine(), prompt=get_prompt("paper"), label_set=EMOTIC, marking=Marking()
    )
    first, _ = request_builder.keys([Subject.still("a", photo, BOX), Subject.still("b", photo, None)])
    assert read == [photo]
    Image.new("RGB", (20, 20), "red").save(photo)
    assert request_builder.keys([Subject.still("a", photo, BOX)]) != [first]
    assert read == [photo, photo]


EDGES = st.floats(-MAX_EDGE, MAX_EDGE) | st.integers(-(10**6), 10**6)


@given(
    edges=st.tuples(EDGES, EDGES, EDGES, EDGES) | st.none(),
    frames=st.lists(st.none() | st.integers(0, 10**9), min_size=1, max_size=3),
    clip=st.none() | st.sampled_from(["middle_frame", "contact_sheet"]),
)
def test_a_key_is_the_digest_of_canonical_json(
    edges: tuple[float, float, float, float] | None, frames: list[int | None], clip: str | None
) -> None:
    box = None
    if edges is not None and edges[0] < edges[2] and edges[1] < edges[3]:
        box = Box.from_tuple(edges)
    parts: dict[str, Any] = {**PARTS, "frames": frames, "boxes": [box] * len(frames)}
    parts["image_digests"] = ["0123456789abcdef"] * len(frames)
    expected = {
        "version": 1,
        "images": parts["image_digests"],
        "frames": frames,
        "boxes": [None if box is None else [float(edge) for edge in box.as_tuple()]] * len(frames),
        "marking": parts["marking_digest"],
        "fit": parts["fit"],
        "prompt": parts["prompt_digest"],
        "question": parts["question"],
        "engine": parts["engine_signature"],
        **({} if clip is None else {"clip": clip}),
    }
    assert key_of(**parts, clip=clip) == digest(expected)
