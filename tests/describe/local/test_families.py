"""Every family in the table of known models is loaded and described with, as a tiny random model."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers
from PIL import Image
from tests.factories.tiny_llava import build_tiny_llava, build_tiny_llava_next
from tests.factories.tiny_vlms import (
    FAMILIES,
    build_tiny_idefics3,
    build_tiny_internvl,
    build_tiny_qwen3_vl,
    build_tiny_smolvlm,
)
from tests.factories.versions import require_smolvlm

from mien.describe.engine import Reply, Request
from mien.describe.local.engine import LocalEngine
from mien.describe.local.known_models import MODELS
from mien.describe.local.processor import load_processor
from mien.describe.local.shared_prefix import PrefixScorer
from mien.errors import EngineDownError
from mien.weights.model_folder import find_model

BUILDERS: dict[str, Callable[[Path], Path]] = {
    **FAMILIES,
    "idefics3": build_tiny_idefics3,
    "llava": build_tiny_llava,
    "llava_next": build_tiny_llava_next,
}
FAMILY_OF = {
    "playhouse": "llava",
    "llava-hf/llava-1.5-13b-hf": "llava",
    "llava-hf/llava-1.5-7b-hf": "llava",
    "llava-hf/llava-v1.6-mistral-7b-hf": "llava_next",
    "Qwen/Qwen2.5-VL-7B-Instruct": "qwen2_5_vl",
    "Qwen/Qwen3-VL-8B-Instruct": "qwen3_vl",
    "HuggingFaceTB/SmolVLM-500M-Instruct": "idefics3",
    "HuggingFaceTB/SmolVLM2-2.2B-Instruct": "smolvlm",
    "OpenGVLab/InternVL3-8B-hf": "internvl",
    "google/gemma-3-4b-it": "gemma3",
}


# The oldest transformers holds that this class needs torchvision, and has a dummy.
IS_DUMMY = bool(getattr(transformers.SmolVLMImageProcessorPil, "is_dummy", False))
WORKING = sorted(BUILDERS.keys() - ({"smolvlm"} if IS_DUMMY else set()))


@pytest.fixture(scope="module", params=WORKING)
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LocalEngine:
    if request.param == "smolvlm":
        require_smolvlm()
    folder = BUILDERS[request.param](tmp_path_factory.mktemp("models") / request.param)
    return LocalEngine(folder, max_new_tokens=12)


@pytest.fixture(autouse=True)
def _num2words(monkeypatch: pytest.MonkeyPatch) -> None:
    """SmolVLM's processor asks for this library, and uses it for videos only."""
    if find_spec("num2words") is None:
        monkeypatch.setattr("transformers.models.smolvlm.processing_smolvlm.num2words", str, raising=False)


def make_request(number: int, *, num_images: int = 1) -> Request:
    rng = np.random.default_rng(number)
    noise = rng.integers(0, 256, (40 + 9 * number, 60 + 20 * (number % 3), 3), dtype=np.uint8)
    prompt = "How do they feel? " * (1 + number % 3)
    return Request(
        subject_id=f"s{number}", images=(Image.fromarray(noise),) * num_images, prompt=prompt.strip()
    )


def test_every_known_model_has_a_family_that_is_tried() -> None:
    assert FAMILY_OF.keys() == {card.name for card in MODELS}
    assert set(FAMILY_OF.values()) <= BUILDERS.keys()


def test_a_batch_is_described_as_its_requests_one_by_one(engine: LocalEngine) -> None:
    batch = [make_request(number) for number in range(5)]
    replies = engine.describe(batch)
    assert [engine.describe([request])[0] for request in batch] == replies
    assert all(isinstance(reply, Reply) for reply in replies)
    assert len({reply.text for reply in replies if isinstance(reply, Reply)}) > 2


def test_several_images_are_taken_where_the_table_says_so(engine: LocalEngine) -> None:
    # Frames of a clip are images; none of them goes through a processor of videos.
    batch = [make_request(number, num_images=3) for number in range(2)]
    replies = engine.describe(batch)
    assert [engine.describe([request])[0] for request in batch] == replies


def ask() -> list[str]:
    """Questions of different lengths."""
    return [f"Is it {'very ' * (number % 3)}{chr(65 + number)}? Yes or no?" for number in range(7)]


def test_labels_are_scored_alike_with_and_without_a_shared_prefix(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mien.describe.local.shared_prefix._PASS_BYTES", 1)
    monkeypatch.setattr("mien.describe.local.shared_prefix._ROWS", 3)
    images, answers = [make_request(4).images], ("Joy", "Doubt/Confusion", "Sadness", "Joyful", "a")
    questions = ask()
    shared, separate = (PrefixScorer(engine._model, shares_prefix=shares) for shares in (True, False))
    (found,) = shared.yes_probabilities(images, [questions])
    assert found == pytest.approx(separate.yes_probabilities(images, [questions])[0], abs=1e-5)
    assert len({round(one, 4) for one in found}) > 3
    (likelihoods,) = shared.answer_log_likelihoods(images, ["How?"], answers)
    assert likelihoods == pytest.approx(
        separate.answer_log_likelihoods(images, ["How?"], answers)[0], abs=1e-4
    )
    assert shared._shares_prefix  # it has not given up
    # One label alone, and labels in another order, have the same scores.
    assert shared.yes_probabilities(images, [questions[:1]])[0] == pytest.approx(found[:1], abs=1e-5)
    assert shared.yes_probabilities(images, [questions[::-1]])[0] == pytest.approx(found[::-1], abs=1e-5)
    (alone,) = shared.answer_log_likelihoods(images, ["How?"], answers[1:2])
    assert alone == pytest.approx(likelihoods[1:2], abs=1e-4)


def test_people_are_scored_together_as_alone(engine: LocalEngine) -> None:
    """Images of three sizes, one or two of them, questions of other lengths."""
    kinds = [(1, 1), (4, 1), (1, 1), (2, 2), (1, 1), (4, 1), (1, 2), (2, 2)]
    images = []
    for number, (size, count) in enumerate(kinds):
        # Colors, because noise is gone where a processor makes images of another size.
        color = tuple(np.random.default_rng(number).integers(0, 256, 3).tolist())
        images.append((Image.new("RGB", (60 + 20 * (size % 3), 40 + 9 * size), color),) * count)
    questions = [ask() if number < 5 else ask()[::2] for number in range(len(images))]
    asked = ["How?" if number % 2 else "How does the person feel?" for number in range(len(images))]
    answers = ("Joy", "Doubt/Confusion", "a")
    together, separate = (PrefixScorer(engine._model, shares_prefix=shares) for shares in (True, False))
    found = together.yes_probabilities(images, questions)
    likelihoods = together.answer_log_likelihoods(images, asked, answers)
    assert together._shares_prefix  # it has not given up
    for number in range(len(images)):
        one = slice(number, number + 1)
        alone = together.yes_probabilities(images[one], questions[one])
        assert found[number] == pytest.approx(alone[0], abs=1e-5)
        alone = together.answer_log_likelihoods(images[one], asked[one], answers)
        assert likelihoods[number] == pytest.approx(alone[0], abs=1e-4)
    whole = separate.yes_probabilities(images[3:5], questions[3:5])
    assert found[3] == pytest.approx(whole[0], abs=1e-5)
    assert found[4] == pytest.approx(whole[1], abs=1e-5)
    assert len({tuple(round(one, 6) for one in scores) for scores in found}) == len(images)


def test_the_square_is_the_size_that_the_processor_makes(engine: LocalEngine) -> None:
    wide = Image.new("RGB", (400, 90))
    processor = engine._model._processor
    text = processor.apply_chat_template(
        [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "?"}]}]
    )
    pixels = processor(text=[text], images=[[wide]], return_tensors="np")["pixel_values"]
    is_one_square = pixels.ndim == 4 and len(pixels) == 1 and pixels.shape[-1] == pixels.shape[-2]
    assert engine.image_size == (pixels.shape[-1] if is_one_square else None)


@pytest.mark.skipif(IS_DUMMY, reason="lacks another library")
def test_a_processor_that_lacks_a_library_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_smolvlm()
    monkeypatch.setattr("transformers.models.smolvlm.processing_smolvlm.num2words", None, raising=False)
    folder = build_tiny_smolvlm(tmp_path / "smolvlm")
    with pytest.raises(EngineDownError, match=r"is missing: .*num2words") as caught:
        load_processor(find_model(str(folder)))
    assert "mien[vlm]" in caught.value.hint


@pytest.mark.parametrize(
    ("cause", "message", "hint"),
    [
        (RuntimeError("operator torchvision::nms does not exist"), "cannot be imported", "belong together"),
        (ImportError("InternVL requires the Torchvision library"), "is missing", "torchvision that belongs"),
    ],
    ids=["broken", "missing"],
)
def test_a_library_that_cannot_be_imported_is_not_called_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cause: Exception, message: str, hint: str
) -> None:
    folder = build_tiny_internvl(tmp_path / "internvl")

    def fail(*_: Any, **__: Any) -> None:
        # As transformers wraps it.
        raise ModuleNotFoundError("Could not import module 'AutoImageProcessor'.") from cause

    monkeypatch.setattr(
        "transformers.models.auto.image_processing_auto.AutoImageProcessor.from_pretrained", fail
    )
    with pytest.raises(EngineDownError, match=f"{message}: .*{cause}") as caught:
        load_processor(find_model(str(folder)))
    assert hint in caught.value.hint


def test_thinking_is_turned_off_by_a_template_that_knows_it(tmp_path: Path) -> None:
    folder = build_tiny_qwen3_vl(tmp_path / "qwen3_vl")
    batch = [make_request(number) for number in range(3)]
    plain, off = (LocalEngine(folder, max_new_tokens=12, thinking=thinking) for thinking in (None, False))
    assert plain.describe(batch) != off.describe(batch)
    assert plain.signature != off.signature
