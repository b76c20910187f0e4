"""Reasoning is removed from replies; a reply that is cut off within it is an error."""

import pytest

from mien.describe.engine import Reply, TokenUsage
from mien.describe.reasoning import is_reasoning_marker, open_marker, remove_reasoning
from mien.errors import EngineError

ANSWER = "A calm woman."


@pytest.mark.parametrize(
    "text",
    [
        f"<think>\nShe is sad.\n</think>\n\n{ANSWER}",
        f"She is sad.\n</think>\n{ANSWER}",
        f'<THINK time="3">x</THINK>{ANSWER}',
        f"<think>a<think>b</think>c</think>{ANSWER}",
        f"<think>a</think>{ANSWER}<think>b</think>",
        f"<thinking>x</thinking>{ANSWER}",
        f"<reasoning>x</reasoning><answer>{ANSWER}</answer>",
        f"[THINK]x[/THINK]{ANSWER}",
        f"\u25c1think\u25b7x\u25c1/think\u25b7{ANSWER}",
        f"<|channel|>analysis<|message|>x<|end|><|start|>assistant<|channel|>final<|message|>{ANSWER}<|return|>",
        f"analysisThe user asks.assistantfinal{ANSWER}",
        f"<|channel>thought\nx<channel|>{ANSWER}",
        f"Here is my thought process: x Here is my response: {ANSWER}",
        f"<|START_THINKING|>x<|END_THINKING|><|START_RESPONSE|>{ANSWER}<|END_RESPONSE|>",
        f"&lt;think&gt;x&lt;/think&gt;{ANSWER}",
        f'<details type="reasoning"><summary>t</summary>x</details>{ANSWER}',
    ],
)
def test_only_the_answer_is_kept(text: str) -> None:
    usage = TokenUsage(prompt=640, completion=52)  # with the reasoning, which has cost something
    found = remove_reasoning(Reply(text=text, finish="length", usage=usage))
    assert found == Reply(text=ANSWER, finish="length", usage=usage)


@pytest.mark.parametrize(
    "text",
    [
        *("<think>x", "[THINK]x", "analysisThe user", "<|channel>thought\nx", "<think>x</think>"),
        *("<|channel|>analysis<|message|>x", "<think>a<think>b</think>c"),
    ],
)
def test_a_text_without_an_answer_is_an_error_that_names_the_options(text: str) -> None:
    error = remove_reasoning(Reply(text=text, finish="length"))
    assert isinstance(error, EngineError)
    assert "max_new_tokens" in error.hint
    assert "thinking" in error.hint


@pytest.mark.parametrize("text", [ANSWER, "They think [sad] a < b", "[thought] x", "Analysis shows a man."])
def test_other_texts_are_unchanged(text: str) -> None:
    assert remove_reasoning(Reply(text=text)) == Reply(text=text)


def test_the_marker_that_a_prompt_opens_is_found() -> None:
    assert open_marker("assistant\n<think>\n") == "<think>"
    assert open_marker("assistant\n<think>\n\n</think>\n\n") == ""
    assert is_reasoning_marker("[THINK]")
    assert not is_reasoning_marker("<|im_end|>")
