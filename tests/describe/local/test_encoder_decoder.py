"""Models whose encoder reads the prompt, such as Florence-2, describe and score labels like all others."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as _transformers
from PIL import Image
from tests.factories.tiny_vlms import build_tiny_florence2

from mien.describe.engine import Reply, Request
from mien.describe.local.engine import LocalEngine
from mien.errors import EngineError, WeightsError

transformers: Any = _transformers  # its annotations are wrong
NUM_TOKENS = 12
QUESTIONS = ("Is it joy? Yes or no?", "Is it a very long doubt? Yes or no?", "Is it pain?")
ANSWERS = ("Joy", "Doubt/Confusion", "a")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_florence2(tmp_path_factory.mktemp("models") / "florence2")


@pytest.fixture(scope="module")
def engine(folder: Path) -> LocalEngine:
    return LocalEngine(folder, max_new_tokens=NUM_TOKENS)


@pytest.fixture(scope="module")
def plain(folder: Path) -> tuple[Any, Any]:
    """The model and its processor, as their library loads and runs them."""
    model = transformers.Florence2ForConditionalGeneration.from_pretrained(folder).eval()
    return model, transformers.Florence2Processor.from_pretrained(folder, backend="pil")


def make_request(number: int) -> Request:
    rng = np.random.default_rng(number)
    noise = rng.integers(0, 256, (40 + 9 * number, 60 + 20 * (number % 3), 3), dtype=np.uint8)
    prompt = "How do they feel? " * (1 + number % 3)
    return Request(subject_id=f"s{number}", images=(Image.fromarray(noise),), prompt=prompt.strip())


def logits(plain: tuple[Any, Any], question: str, answer: Sequence[int]) -> Any:
    """Logits for each token of an answer and the next one, by a whole pass of the library's model."""
    model, processor = plain
    inputs = processor(text=[question], images=[list(make_request(1).images)], return_tensors="pt")
    settings = model.generation_config
    start = [settings.decoder_start_token_id, settings.forced_bos_token_id]
    with torch.inference_mode():
        return model(**inputs, decoder_input_ids=torch.tensor([[*start, *answer]])).logits[0, 1:].double()


def test_a_batch_is_described_as_by_the_library_one_by_one(
    engine: LocalEngine, plain: tuple[Any, Any]
) -> None:
    model, processor = plain
    model.generation_config.forced_eos_token_id = None  # else the last token of a long text is always the end
    batch = [make_request(number) for number in range(5)]
    replies = engine.describe(batch)
    assert [engine.describe([request])[0] for request in batch] == replies
    for request, reply in zip(batch, replies, strict=True):
        inputs = processor(text=[request.prompt], images=[list(request.images)], return_tensors="pt")
        tokens = model.generate(**inputs, max_new_tokens=NUM_TOKENS, num_beams=1, do_sample=False)
        assert isinstance(reply, Reply)
        assert reply.text == processor.batch_decode(tokens, skip_special_tokens=True)[0].strip()
    assert len({reply.text for reply in replies if isinstance(reply, Reply)}) > 2


def yes_probabilities(engine: LocalEngine, request: Request, questions: Sequence[str]) -> list[float]:
    (found,) = engine.yes_probabilities([request], [questions])
    assert not isinstance(found, EngineError)
    return found


def test_several_requests_are_scored_as_one_by_one(engine: LocalEngine) -> None:
    batch = [make_request(number) for number in range(3)]
    questions = [QUESTIONS, QUESTIONS[:1], QUESTIONS[1:]]
    found = engine.yes_probabilities(batch, questions)
    for one, request, texts in zip(found, batch, questions, strict=True):
        assert one == pytest.approx(yes_probabilities(engine, request, texts), abs=1e-5)
    likelihoods = engine.answer_log_likelihoods(batch, ANSWERS)
    for one, request in zip(likelihoods, batch, strict=True):
        assert one == pytest.approx(engine.answer_log_likelihoods([request], ANSWERS)[0], abs=1e-5)


def test_yes_is_as_likely_as_the_library_says(engine: LocalEngine, plain: tuple[Any, Any]) -> None:
    request = make_request(1)
    found = yes_probabilities(engine, request, QUESTIONS)
    tokenizer = plain[1].tokenizer
    yes, no = (tokenizer.convert_tokens_to_ids(list(pair)) for pair in ("yY", "nN"))
    for question, probability in zip(QUESTIONS, found, strict=True):
        odds = logits(plain, question, [])[-1].softmax(-1)
        # A space before the word is a token of its own here, and no part of either answer.
        assert probability == pytest.approx(float(odds[yes].sum() / odds[yes + no].sum()), abs=1e-5)
    assert len({round(one, 3) for one in found}) == len(QUESTIONS)
    assert yes_probabilities(engine, request, QUESTIONS[::-1]) == pytest.approx(found[::-1], abs=1e-6)


def test_answers_are_as_likely_as_the_library_says(engine: LocalEngine, plain: tuple[Any, Any]) -> None:
    request = make_request(1)
    (found,) = engine.answer_log_likelihoods([request], ANSWERS)
    assert not isinstance(found, EngineError)
    for answer, likelihood in zip(ANSWERS, found, strict=True):
        tokens = plain[1].tokenizer(answer, add_special_tokens=False)["input_ids"]
        rows = logits(plain, request.prompt, tokens).log_softmax(-1)
        expected = np.mean([rows[index, token] for index, token in enumerate(tokens)])
        assert likelihood == pytest.approx(expected, abs=1e-4)
        (alone,) = engine.answer_log_likelihoods([request], [answer])
        assert alone == pytest.approx([likelihood], abs=1e-4)


def test_a_model_without_a_start_token_is_refused(tmp_path: Path) -> None:
    folder = build_tiny_florence2(tmp_path / "florence2")
    for name in ("config.json", "generation_config.json"):
        file = folder / name
        file.write_text(
            file.read_text().replace('"decoder_start_token_id": 2', '"decoder_start_token_id": null')
        )
    with pytest.raises(WeightsError, match="with which token its texts begin"):
        LocalEngine(folder).describe([make_request(0)])
