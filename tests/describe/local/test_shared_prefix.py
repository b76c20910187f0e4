"""Where a prefix cannot be shared, each label gets a pass of its own, and nothing changes but the time."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tests.factories.tiny_llava import build_tiny_llava
from tests.factories.tiny_vlms import build_tiny_paligemma

from mien.describe.engine import Request
from mien.describe.local.engine import LocalEngine
from mien.describe.local.shared_prefix import PrefixScorer
from mien.errors import EngineDownError, EngineError

QUESTIONS = ("Is it joy? Yes or no?", "Is it fear? Yes or no?", "Is it doubt or pain? Yes or no?")
IMAGES = (Image.effect_noise((40, 30), 90).convert("RGB"),)
# Puts the words before the image.
QUESTION_FIRST = (
    "{% for message in messages %}USER: {% for part in message['content'] %}{% if part['type'] == 'text' %}"
    "{{ part['text'] }}{% endif %}{% endfor %}<image>{% endfor %} ASSISTANT:"
)


def scores_of(engine: LocalEngine, questions: Sequence[str] = QUESTIONS) -> list[float]:
    return engine.yes_probabilities(Request(subject_id="s", images=IMAGES, prompt=""), questions)


def separate(engine: LocalEngine) -> list[float]:
    return PrefixScorer(engine._model, shares_prefix=False).yes_probabilities(IMAGES, QUESTIONS)


def test_words_before_the_image(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    engine = LocalEngine(build_tiny_llava(tmp_path / "llava", chat_template=QUESTION_FIRST))
    with caplog.at_level(logging.WARNING):
        assert scores_of(engine) == separate(engine)
        scores_of(engine)
    (record,) = caplog.records  # once for all subjects
    assert "reads the image again for each label" in record.message


def test_a_prompt_that_is_read_in_both_directions(tmp_path: Path) -> None:
    engine = LocalEngine(build_tiny_paligemma(tmp_path / "paligemma"))
    found = scores_of(engine)
    assert found == separate(engine)
    assert len(set(found)) == len(QUESTIONS)
    # Its processor ends every prompt with a line break, also after an answer.
    with pytest.raises(EngineDownError, match="changes what is answered"):
        engine.answer_log_likelihoods(Request(subject_id="s", images=IMAGES, prompt="How?"), ["joy", "fear"])


@pytest.fixture
def unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalEngine:
    """A model of a type that no test has compared."""
    engine = LocalEngine(build_tiny_llava(tmp_path / "llava"))
    monkeypatch.setattr(engine._model.module.config, "model_type", "unknown")
    return engine


def test_an_unknown_type_is_compared_once(unknown: LocalEngine) -> None:
    calls = count_calls(unknown)
    found = scores_of(unknown)
    assert len(calls) == 3  # the prefix, the rests, and one whole pass
    assert found == pytest.approx(separate(unknown), abs=1e-5)
    calls.clear()
    assert scores_of(unknown) == found
    assert len(calls) == 2


def test_an_unknown_type_that_answers_otherwise_takes_whole_passes(
    unknown: LocalEngine, caplog: pytest.LogCaptureFixture
) -> None:
    expected = separate(unknown)
    forward = unknown._model.module.forward

    def forget(*arguments: Any, **options: Any) -> Any:
        """As a model whose cached states are not those of a whole pass."""
        if (cache := options.get("past_key_values")) is not None:
            for layer in cache.layers:
                layer.keys = layer.keys * 0.5
        return forward(*arguments, **options)

    unknown._model.module.forward = forget
    with caplog.at_level(logging.WARNING):
        assert scores_of(unknown) == expected
    assert "a probability differs by" in caplog.text


def test_the_space_before_a_word_may_be_a_token_of_its_own(tmp_path: Path) -> None:
    # The byte tokenizer writes " yes" as a space and letters; the template ends without a space.
    engine = LocalEngine(build_tiny_llava(tmp_path / "llava"))
    scorer = PrefixScorer(engine._model)
    text = scorer._text(IMAGES, QUESTIONS[0])
    start, yes, no = scorer._answer_tokens(text)
    tokenizer = engine._model.processor.tokenizer
    assert start == " "
    assert {tokenizer.decode([token]) for token in yes} == {"y", "Y"}
    assert {tokenizer.decode([token]) for token in no} == {"n", "N"}
    # By hand: the probabilities of the next token after the space.
    inputs = engine._model.prepare([text + " "], [Request(subject_id="", images=IMAGES, prompt="")])
    with torch.inference_mode():
        odds = engine._model.module(**inputs).logits[0, -1].softmax(-1)
    expected = odds[yes].sum() / (odds[yes].sum() + odds[no].sum())
    assert scores_of(engine)[0] == pytest.approx(expected.item(), abs=1e-5)


def test_a_failure_of_the_model_is_an_error_of_the_engine(unknown: LocalEngine) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("shapes differ")

    unknown._model.module.forward = fail
    with pytest.raises(EngineError, match="shapes differ"):
        scores_of(unknown)


def count_calls(engine: LocalEngine) -> list[int]:
    calls: list[int] = []
    forward = engine._model.module.forward

    def counted(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        return forward(*arguments, **options)

    engine._model.module.forward = counted
    return calls
