"""Where a prefix cannot be shared, each label gets a pass of its own, and nothing changes but the time."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.factories.tiny_llava import build_tiny_llava
from tests.factories.tiny_vlms import build_tiny_paligemma

from mien.describe.engine import Request
from mien.describe.local.engine import LocalEngine
from mien.describe.local.label_prompts import LabelPrompts, PromptBuilder
from mien.describe.local.library import cache_keyword
from mien.describe.local.shared_prefix import PrefixScorer
from mien.errors import EngineDownError, EngineError

QUESTIONS = ("Is it joy? Yes or no?", "Is it fear? Yes or no?", "Is it doubt or pain? Yes or no?")
IMAGES = (Image.effect_noise((40, 30), 90).convert("RGB"),)
REQUEST = Request(subject_id="s", images=IMAGES, prompt="How?")
# Puts the words before the image.
QUESTION_FIRST = (
    "{% for message in messages %}USER: {% for part in message['content'] %}{% if part['type'] == 'text' %}"
    "{{ part['text'] }}{% endif %}{% endfor %}<image>{% endfor %} ASSISTANT:"
)


def scores_of(engine: LocalEngine, questions: Sequence[str] = QUESTIONS) -> list[float]:
    (found,) = engine.yes_probabilities([REQUEST], [questions])
    assert not isinstance(found, EngineError)
    return found


def separate(engine: LocalEngine) -> list[float]:
    scorer = PrefixScorer(engine._model, shares_prefix=False)
    return scorer.yes_probabilities([IMAGES], [QUESTIONS])[0]


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
        engine.answer_log_likelihoods([REQUEST], ["joy", "fear"])


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
        if (cache := options.get(cache_keyword())) is not None:
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
    builder = PromptBuilder(engine._model, thinking=None)
    text = builder.text(len(IMAGES), QUESTIONS[0])
    start, yes, no = builder.answer_tokens(text)
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


def test_an_unknown_type_is_compared_again_with_several_subjects(unknown: LocalEngine) -> None:
    scores_of(unknown)
    calls = count_calls(unknown)
    found = unknown.yes_probabilities([REQUEST, REQUEST], [QUESTIONS, QUESTIONS])
    assert len(calls) == 3  # the prefixes, the rests, and one whole pass
    assert found == [pytest.approx(separate(unknown), abs=1e-5)] * 2
    calls.clear()
    assert unknown.yes_probabilities([REQUEST] * 3, [QUESTIONS] * 3)[2] == pytest.approx(found[0], abs=1e-5)
    assert len(calls) == 2


def make_request(number: int, size: tuple[int, int] = (40, 30)) -> Request:
    rng = np.random.default_rng(number)
    image = Image.fromarray(rng.integers(0, 256, (*size[::-1], 3), dtype=np.uint8))
    return Request(subject_id=f"s{number}", images=(image,), prompt="")


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> LocalEngine:
    return LocalEngine(build_tiny_llava(tmp_path_factory.mktemp("models") / "llava"))


def test_subjects_with_other_questions_have_passes_of_their_own(llava: LocalEngine) -> None:
    requests = [make_request(number) for number in range(4)]
    other = ("Is the person sad? Yes or no?", "Is the person very sad? Yes or no?")
    questions = [QUESTIONS, other, QUESTIONS, other[:1]]
    alone = [
        llava.yes_probabilities([one], [texts])[0] for one, texts in zip(requests, questions, strict=True)
    ]
    calls = count_calls(llava)
    found = llava.yes_probabilities(requests, questions)
    assert len(calls) == 6  # a prefix and the rests, for each of three kinds
    for one, expected in zip(found, alone, strict=True):
        assert one == pytest.approx(expected, abs=1e-5)
    assert len({round(one, 5) for scores in found for one in scores}) == 9  # type: ignore[union-attr]


def test_memory_bounds_how_many_subjects_share_a_pass(
    llava: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests, questions = [make_request(number) for number in range(5)], [QUESTIONS] * 5
    together = llava.yes_probabilities(requests, questions)
    monkeypatch.setattr("mien.describe.local.shared_prefix._PASS_BYTES", 1)
    monkeypatch.setattr("mien.describe.local.shared_prefix._ROWS", 2 * len(QUESTIONS) + 1)
    calls = count_calls(llava)
    for one, other in zip(llava.yes_probabilities(requests, questions), together, strict=True):
        assert one == pytest.approx(other, abs=1e-5)
    assert len(calls) == 6  # a prefix and the rests, for two, two and one
    # Fewer than there are questions: each subject is alone, and its questions take two passes.
    monkeypatch.setattr("mien.describe.local.shared_prefix._ROWS", 2)
    calls.clear()
    for one, other in zip(llava.yes_probabilities(requests, questions), together, strict=True):
        assert one == pytest.approx(other, abs=1e-5)
    assert len(calls) == 5 * 3


def test_subjects_share_a_pass_with_the_same_others_in_each_run(llava: LocalEngine) -> None:
    # So a command that was killed and started again writes the same digits.
    requests, questions = [make_request(number) for number in range(5)], [QUESTIONS] * 5
    fresh = LocalEngine(llava._folder.path)
    llava.yes_probabilities(requests[:1], questions[:1])
    assert llava.yes_probabilities(requests, questions) == fresh.yes_probabilities(requests, questions)


@pytest.mark.parametrize(
    ("lengths", "num_subjects", "max_rows", "passes"),
    [
        ([9, 9, 11], 1, 32, [[2, 0, 1]]),  # two tokens of padding for each of two cost less than a pass
        ([9] * 25 + [11], 8, 999, [[25], [*range(25)]]),
        ([9, 9, 9, 9, 9], 2, 4, [[0, 1], [2, 3], [4]]),
        ([3, 80, 3], 1, 32, [[1], [0, 2]]),
        ([5, 5], 9, 4, [[0], [1]]),
    ],
)
def test_prompts_of_nearly_the_same_length_share_a_pass(
    lengths: list[int], num_subjects: int, max_rows: int, passes: list[list[int]]
) -> None:
    prompts = LabelPrompts(
        texts=("",) * len(lengths),
        answers=((),) * len(lengths),
        rests=tuple((1,) * length for length in lengths),
    )
    assert list(prompts.passes(num_subjects, max_rows)) == passes


def test_a_failure_of_the_model_is_an_error_of_the_engine(unknown: LocalEngine) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("shapes differ")

    unknown._model.module.forward = fail
    (found,) = unknown.yes_probabilities([REQUEST], [QUESTIONS])
    assert isinstance(found, EngineError)
    assert "shapes differ" in str(found)


def test_a_subject_that_the_model_fails_on_costs_no_other(llava: LocalEngine) -> None:
    requests, questions = [make_request(number) for number in range(5)], [QUESTIONS] * 5
    expected = llava.yes_probabilities(requests, questions)
    prepare, poison = llava._model.prepare, requests[2].images

    def fail(texts: list[str], requests: Sequence[Request]) -> Any:
        if any(one.images is poison for one in requests):
            raise RuntimeError("cannot be read")
        return prepare(texts, requests)

    llava._model.prepare = fail  # type: ignore[method-assign]
    try:
        found = llava.yes_probabilities(requests, questions)
    finally:
        llava._model.prepare = prepare  # type: ignore[method-assign]
    assert [isinstance(one, EngineError) for one in found] == [False, False, True, False, False]
    for index in (0, 1, 3, 4):
        assert found[index] == pytest.approx(expected[index], abs=1e-5)


def count_calls(engine: LocalEngine) -> list[int]:
    calls: list[int] = []
    forward = engine._model.module.forward

    def counted(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        return forward(*arguments, **options)

    engine._model.module.forward = counted
    return calls
