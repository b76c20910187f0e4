"""The engine `cues` with models that always find the same: its texts, its signature, what it refuses."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.factories.hub_server import HubServer
from tests.factories.tiny_onnx import INT32, write_constants, write_random_yolox, write_yolox, write_yunet

from mien.describe.cues.engine import CuesEngine, CuesOptions
from mien.describe.engine import Reply, Request
from mien.describe.fake import FakeEngine
from mien.describe.open import open_engine
from mien.describe.requests import RequestBuilder
from mien.errors import ConfigError, EngineDownError, EngineError, WeightsError
from mien.recipe import DescribeOptions, RunOptions
from mien.types import Box, Subject

pytest.importorskip("onnxruntime")

# 64 pixels: cell 27 of stride 8 is column 3, row 3. A box of 16 x 32 around (28, 28), and smaller ones.
PERSON = (27, 0.9, (0.5, 0.5, np.log(2), np.log(4)))
SMALL = (31, 0.8, (0.5, 0.5, np.log(0.75), np.log(1.5)))  # 6 x 12 around (60, 28)
THING = (28, 0.4, (0.0, 0.5, 0.0, 0.0))  # 8 x 8 around (32, 28)
FACE = (8, 19, 0.9, (0.5, 0.5, 0.0, 0.0))  # 8 x 8 around (28, 20)
DOG = 16


def write_parts(folder: Path) -> dict[str, str]:
    """The four models, as files."""
    folder.mkdir(exist_ok=True)
    joints = np.full((1, 1, 17, 3), 0.5, np.float32)
    joints[0, 0, :, 2] = 0.9
    for joint, (x, y) in {
        0: (0.5, 0.2),
        1: (0.52, 0.18),
        2: (0.48, 0.18),
        5: (0.6, 0.3),
        6: (0.4, 0.3),
        9: (0.65, 0.55),
        10: (0.35, 0.1),
        11: (0.55, 0.55),
        12: (0.45, 0.55),
        13: (0.55, 0.75),
        14: (0.45, 0.75),
        15: (0.55, 0.95),
        16: (0.45, 0.95),
    }.items():
        joints[0, 0, joint, :2] = y, x  # fmt: skip
    probabilities = np.array([[0.05, 0.85, 0.1, 0, 0, 0, 0]], np.float32)
    return {
        "objects": str(write_yolox(folder / "a.onnx", [PERSON, SMALL, THING], classes=80, kinds=[0, 0, DOG])),
        "faces": str(write_yunet(folder / "f.onnx", [FACE])),
        "expression": str(write_constants(folder / "e.onnx", {"probs": probabilities}, size=(112, 112))),
        "pose": str(
            write_constants(
                folder / "p.onnx", {"joints": joints}, input_shape=(1, 192, 192, 3), input_type=INT32
            )
        ),
    }


def open_parts(parts: dict[str, str], **options: Any) -> CuesEngine:
    own: dict[str, Any] = {key: parts[key] for key in ("faces", "expression", "pose") if key in parts}
    return CuesEngine(parts["objects"], CuesOptions(**own, **options))


def request(box: Box | None = None, *, size: int = 64) -> Request:
    return Request(subject_id="s", images=(Image.new("RGB", (size, size)),), prompt="Who?", boxes=(box,))


def text_of(engine: CuesEngine, asked: Request) -> str:
    (reply,) = engine.describe([asked])
    assert isinstance(reply, Reply), reply
    return reply.text


# --- What it says ---


def test_a_boxed_person_and_the_surroundings_are_described(tmp_path: Path) -> None:
    engine = open_parts(write_parts(tmp_path))
    box = Box(left=80, top=48, right=144, bottom=176)  # the person, in an image of 256 pixels
    assert text_of(engine, request(box, size=256)) == (
        "The person in the red box is large, in the middle of the image. Their face looks happy. They "
        "stand with one arm raised. One other person is at some distance behind them on the right. Right by "
        "them is perhaps a dog."
    )


def test_without_a_box_the_largest_person_is_the_main_person(tmp_path: Path) -> None:
    text = text_of(open_parts(write_parts(tmp_path)), request(size=256))
    assert text.startswith("The main person is large, in the middle of the image. Their face looks happy.")


def test_a_box_in_which_no_one_is_found_is_said(tmp_path: Path) -> None:
    parts = write_parts(tmp_path)
    empty = Box(left=0, top=200, right=60, bottom=250)
    face = text_of(
        open_parts(parts), request(empty, size=256)
    )  # this YuNet finds one in any part of an image
    assert face.startswith("Only a face was found in the red box")
    text = text_of(open_parts({key: parts[key] for key in ("objects", "pose")}), request(empty, size=256))
    assert text.startswith("No person was found in the red box, which is of medium size, on the left of the")
    assert "posture" not in text
    assert "There are two other people." in text


def test_an_empty_image_is_said(tmp_path: Path) -> None:
    engine = CuesEngine(str(write_yolox(tmp_path / "a.onnx", [], classes=80)))
    assert text_of(engine, request()) == "No person was found in the image. No other objects were found."
    boxed = text_of(engine, request(Box(left=8, top=8, right=20, bottom=20)))
    assert boxed.startswith("No person was found in the red box")


def test_only_parts_that_are_given_are_spoken_of(tmp_path: Path) -> None:
    parts = write_parts(tmp_path)
    text = text_of(open_parts({"objects": parts["objects"]}), request(size=256))
    assert not any(word in text for word in ("face", "They ", "posture"))
    faces = text_of(open_parts({key: parts[key] for key in ("objects", "faces")}), request(size=256))
    assert "Their face can be seen." in faces


def test_a_small_face_is_not_read(tmp_path: Path) -> None:
    text = text_of(open_parts(write_parts(tmp_path)), request(size=128))
    assert "Their face is too small to read." in text


def test_unlikely_expressions_are_hedged(tmp_path: Path) -> None:
    parts = write_parts(tmp_path)
    for probabilities, said in (
        ([0.05, 0.6, 0.35, 0, 0, 0, 0], "Their face probably looks happy, or else sad."),
        ([0.1, 0.2, 0.1, 0.1, 0.1, 0.1, 0.3], "Their face may look surprised or happy."),
        # Logits.
        ([-1, 0, 9, 0, 0, 0, 0], "Their face looks sad."),
    ):
        values = np.array([probabilities], np.float32)
        parts["expression"] = str(write_constants(tmp_path / "e.onnx", {"out": values}, size=(48, 48)))
        assert said in text_of(open_parts(parts), request(size=256))


def test_labels_of_other_classifiers_are_named_in_options(tmp_path: Path) -> None:
    parts = write_parts(tmp_path)
    two = np.array([[0.1, 0.9]], np.float32)
    parts["expression"] = str(write_constants(tmp_path / "e.onnx", {"out": two}, size=(32, 32)))
    engine = open_parts(parts, expression_labels=("calm", "tense"), expression_pixels="imagenet")
    assert "Their face looks tense." in text_of(engine, request(size=256))
    with pytest.raises(ConfigError, match="2 classes, and there are 0 labels") as caught:
        open_parts(parts).describe([request()])
    assert "expression_labels" in caught.value.hint


def test_gray_classifiers_get_gray_faces(tmp_path: Path) -> None:
    parts = write_parts(tmp_path)
    eight = np.array([[0, 0, 0, 0, 0, 0, 0, 9.0]], np.float32)
    parts["expression"] = str(
        write_constants(tmp_path / "e.onnx", {"out": eight}, input_shape=(1, 1, 64, 64))
    )
    assert "Their face looks contemptuous." in text_of(open_parts(parts), request(size=256))


def test_frames_are_described_one_by_one(tmp_path: Path) -> None:
    engine = open_parts(write_parts(tmp_path))
    one = request(size=256)
    two = Request(subject_id="s", images=one.images * 2, prompt="", boxes=(None, None))
    text = text_of(engine, one)
    assert text_of(engine, two) == f"Frame 1: {text} Frame 2: {text}"


def test_one_image_that_fails_costs_no_other(tmp_path: Path) -> None:
    engine = CuesEngine(str(write_random_yolox(tmp_path / "a.onnx")))
    outside = request(Box(left=100, top=100, right=120, bottom=120))
    before, failure, after = engine.describe([request(), outside, request()])
    assert isinstance(before, Reply)
    assert before == after
    assert isinstance(failure, EngineError)
    assert "'s' cannot be described" in str(failure)
    assert not failure.retryable


@pytest.mark.parametrize("part", ["objects", "expression", "pose"])
def test_outputs_that_are_not_finite_are_an_error_of_the_item(tmp_path: Path, part: str) -> None:
    parts = write_parts(tmp_path)
    broken = {
        "objects": lambda: write_yolox(tmp_path / "b.onnx", [(9, np.nan, (0, 0, 0, 0))], classes=80),
        "expression": lambda: write_constants(
            tmp_path / "b.onnx", {"out": np.full((1, 7), np.nan, np.float32)}, size=(48, 48)
        ),
        "pose": lambda: write_constants(
            tmp_path / "b.onnx",
            {"out": np.full((1, 1, 17, 3), np.nan, np.float32)},
            input_shape=(1, 64, 64, 3),
        ),
    }
    parts[part] = str(broken[part]())
    (failure,) = open_parts(parts).describe([request(size=256)])
    assert isinstance(failure, EngineError)
    assert "not finite" in str(failure)


# --- What enters keys ---


def test_the_signature_holds_the_content_of_every_part_and_no_path(tmp_path: Path) -> None:
    first, second = write_parts(tmp_path / "one"), write_parts(tmp_path / "two")
    before = dict(open_parts(first).signature)
    assert dict(open_parts(second).signature) == before
    assert before["models"].keys() == first.keys()  # type: ignore[union-attr]
    other = write_parts(tmp_path / "three")
    other["pose"] = str(
        write_constants(
            tmp_path / "p.onnx", {"out": np.zeros((1, 1, 17, 3), np.float32)}, input_shape=(1, 64, 64, 3)
        )
    )
    signatures = [
        before,
        dict(open_parts(other).signature),
        dict(open_parts({key: first[key] for key in ("objects", "faces")}).signature),
        dict(open_parts(first, expression_pixels="0..1").signature),
        dict(CuesEngine(first["objects"], marking="crop").signature),
    ]
    assert all(one not in signatures[:index] for index, one in enumerate(signatures))
    assert before["version"] == 1


def test_only_engines_that_take_boxes_get_them_and_images_without_a_line(
    tmp_path: Path, subjects: Callable[..., list[Subject]], request_options: dict[str, Any]
) -> None:
    (subject,) = subjects(1)
    taking = RequestBuilder(engine=CuesEngine(write_parts(tmp_path / "parts")["objects"]), **request_options)
    made = taking.prepare(taking.build(subject))
    assert made.boxes == subject.boxes
    assert made.images[0].tobytes() == Image.open(subject.images[0].path).tobytes()
    other = RequestBuilder(engine=FakeEngine(), **request_options)
    made = other.prepare(other.build(subject))
    assert made.boxes == ()
    assert made.images[0].tobytes() != Image.open(subject.images[0].path).tobytes()


# --- What is refused ---


def open_from(model: str, run: RunOptions | None = None, **options: Any) -> CuesEngine:
    engine = open_engine(DescribeOptions(engine="cues", model=model, **options), run or RunOptions())
    assert isinstance(engine, CuesEngine)
    return engine


def test_a_recipe_opens_it(tmp_path: Path) -> None:
    parts = write_parts(tmp_path)
    objects = parts.pop("objects")
    engine = open_from(objects, RunOptions(threads=3), options=parts)
    assert engine.name == "cues/a"
    assert engine.calls_at_once == 3
    assert text_of(engine, request(size=256)) == text_of(
        open_parts({"objects": objects, **parts}), request(size=256)
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"model": "playhouse"}, "needs a detector"),
        ({"clip": "contact_sheet"}, "frames one by one"),
        ({"prompt": "structured"}, "asks for scores"),
        ({"options": {"expression": "e.onnx"}}, "no model that finds faces"),
        ({"options": {"poses": "p.onnx"}}, "poses"),
    ],
)
def test_recipes_that_ask_for_something_else_are_refused(
    tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    model = str(write_yolox(tmp_path / "a.onnx", [], classes=80))
    with pytest.raises(ConfigError, match=said) as caught:
        open_from(**({"model": model} | options))
    assert caught.value.exit_code == 2
    assert caught.value.hint


def test_a_missing_file_is_an_error_with_exit_code_5(tmp_path: Path) -> None:
    objects = str(write_yolox(tmp_path / "a.onnx", [], classes=80))
    for model, options in ((tmp_path / "b.onnx", {}), (objects, {"pose": str(tmp_path / "b.onnx")})):
        with pytest.raises(WeightsError, match=r"b\.onnx") as caught:
            open_from(str(model), options=options)
        assert caught.value.exit_code == 5


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("objects", "not a YOLOX with the 80 classes"),
        ("faces", "not a YuNet"),
        ("expression", "not a classifier of expressions"),
        ("pose", "not a pose model"),
    ],
)
def test_a_model_of_another_kind_is_an_error_with_exit_code_5(tmp_path: Path, part: str, said: str) -> None:
    parts = write_parts(tmp_path)
    parts[part] = str(write_yolox(tmp_path / "people.onnx", [], classes=2))
    engine = open_parts(parts)
    with pytest.raises(WeightsError, match=said) as caught:
        engine.describe([request()])
    assert caught.value.exit_code == 5
    assert "people.onnx" in str(caught.value)
    assert caught.value.hint


def test_without_onnx_runtime_only_describing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = open_parts(write_parts(tmp_path))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert engine.signature  # descriptions in a store are still found
    with pytest.raises(EngineDownError, match="needs ONNX Runtime") as caught:
        engine.describe([request()])
    assert caught.value.exit_code == 6


# --- Where parts are ---


def test_a_folder_with_one_file_stands_for_it(tmp_path: Path) -> None:
    home = tmp_path / "model"
    home.mkdir()
    with pytest.raises(WeightsError, match="no ONNX file"):
        CuesEngine(str(home))
    file = write_yolox(home / "a.onnx", [], classes=80)
    assert CuesEngine(str(home)).signature == CuesEngine(str(file)).signature
    write_yolox(home / "b.onnx", [], classes=80)
    with pytest.raises(
        WeightsError, match=r"more than one ONNX file for the detector: a\.onnx, b\.onnx"
    ) as caught:
        CuesEngine(str(home))
    assert ":FILE.onnx" in caught.value.hint
    assert CuesEngine(f"{home}:a.onnx").signature == CuesEngine(str(file)).signature
    with pytest.raises(WeightsError, match=r"no c\.onnx"):
        CuesEngine(f"{home}:c.onnx")


def test_parts_are_fetched_from_the_hub(tmp_path: Path, own_hub: HubServer) -> None:
    files = {file.name: file.read_bytes() for file in map(Path, write_parts(tmp_path / "parts").values())}
    commit = own_hub.add("some/parts", files, license="mit")
    engine = CuesEngine("some/parts:a.onnx", CuesOptions(pose="some/parts@main:p.onnx"))
    assert own_hub.downloads == ["a.onnx", "p.onnx"]
    parts = write_parts(tmp_path / "again")
    assert engine.signature == open_parts({key: parts[key] for key in ("objects", "pose")}).signature
    assert engine.origin == {"model": "some/parts", "revision": commit, "license": "mit"}
    with pytest.raises(WeightsError, match=r"some/parts has no b\.onnx"):
        CuesEngine("some/parts:b.onnx")
