"""Prompts about labels as text and tokens, which are the same for most subjects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from PIL import Image

from mien.describe.engine import Request
from mien.describe.local.model import LocalModel
from mien.describe.local.yes_no import NO, YES, distinct_tokens, first_tokens

__all__ = ["Images", "LabelPrompts", "PromptBuilder"]

Images = tuple[Image.Image, ...]  # of one subject

_REMEMBERED: Final = 16  # prompts whose tokens are kept
_WORTH_A_PASS: Final = 64  # tokens of padding that a further pass avoids


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelPrompts:
    """Prompts about the same images, one per label.

    Attributes:
        texts: Each as the tokenizer takes it.
        answers: The tokens at the end of each that are scored; empty if what follows it is scored.
        rests: The tokens of each after those that all begin with; None if these are fewer than one.
        yes: The tokens of a positive answer.
        no: The tokens of a negative answer.
    """

    texts: tuple[str, ...]
    answers: tuple[tuple[int, ...], ...]
    rests: tuple[tuple[int, ...], ...] | None
    yes: Sequence[int] = ()
    no: Sequence[int] = ()

    def passes(self, num_subjects: int, max_rows: int) -> Iterator[list[int]]:
        """The numbers of the prompts of each pass: nearly alike in length, and no more than fit."""
        assert self.rests is not None
        by_length: dict[int, list[int]] = {}
        for index, rest in enumerate(self.rests):
            by_length.setdefault(len(rest), []).append(index)
        groups: list[list[int]] = []
        longest = 0
        for length, indices in sorted(by_length.items(), reverse=True):
            if groups and (longest - length) * len(indices) * num_subjects <= _WORTH_A_PASS:
                groups[-1] += indices
            else:
                longest = length
                groups.append(indices)
        most = max(1, max_rows // num_subjects)
        for group in groups:
            yield from (group[start : start + most] for start in range(0, len(group), most))


class PromptBuilder:
    """Builds the prompts of a model, and remembers the last ones.

    Args:
        model: The loaded model.
        thinking: See `LocalOptions`.
    """

    def __init__(self, model: LocalModel, thinking: bool | None) -> None:
        self._model = model
        self._thinking = thinking
        self._known: dict[tuple[object, ...], LabelPrompts] = {}

    def yes_no(self, num_images: int, questions: Sequence[str]) -> LabelPrompts:
        """Prompts whose answer is yes or no."""
        key = ("yes_no", num_images, *questions)
        if key not in self._known:
            texts = [self.text(num_images, question) for question in questions]
            start, yes, no = self.answer_tokens(texts[0])
            texts = [text + start for text in texts]
            self._remember(key, self._prompts(texts, [()] * len(texts), yes, no))
        return self._known[key]

    def answered(self, num_images: int, question: str, answers: Sequence[str]) -> LabelPrompts:
        """A prompt with each of the answers behind it."""
        key = ("answered", num_images, question, *answers)
        if key not in self._known:
            text = self.text(num_images, question)
            texts = [f"{text}{_gap(text)}{answer}" for answer in answers]
            (plain,), wholes = self.tokenize([text]), self.tokenize(texts)
            scored = [tuple(whole[_num_common([plain, whole]) :]) for whole in wholes]
            self._remember(key, self._prompts(texts, scored))
        return self._known[key]

    def text(self, num_images: int, question: str) -> str:
        """A question in the chat template, with a placeholder per image."""
        request = Request(subject_id="", images=(_ANY_IMAGE,) * num_images, prompt=question)
        return self._model.prompt_text(request, thinking=self._thinking)

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of each text, with one placeholder per image."""
        tokenizer = self._model.processor.tokenizer
        found = tokenizer(list(texts), add_special_tokens=self._model.adds_special_tokens(texts[0]))
        return [list(row) for row in found["input_ids"]]

    def answer_tokens(self, text: str) -> tuple[str, list[int], list[int]]:
        """What an answer to this prompt begins with before its first word, and the tokens of yes and of no.

        Some tokenizers write the space before the word as a token of its own, which tells nothing.
        """
        gap = _gap(text)
        plain, spaced, *rows = self.tokenize([text, text + gap, *(text + gap + word for word in YES + NO)])
        common = rows[0][: _num_common(rows)]
        has_own_space = common == spaced and spaced[: len(plain)] == plain
        start = gap if has_own_space else ""
        begun = len(spaced) if has_own_space else len(plain)
        tokenizer = self._model.processor.tokenizer
        found: list[set[int]] = []
        for words, answers in ((YES, rows[: len(YES)]), (NO, rows[len(YES) :])):
            tokens = {row[begun] for row in answers if row[:begun] == (spaced if start else plain)}
            found.append(tokens if start else tokens | first_tokens(tokenizer, words))
        return start, *distinct_tokens(tokenizer, *found)

    def _prompts(
        self,
        texts: Sequence[str],
        answers: Sequence[tuple[int, ...]],
        yes: Sequence[int] = (),
        no: Sequence[int] = (),
    ) -> LabelPrompts:
        tokens = self.tokenize(texts)
        # The logits before a scored token are those of the token before it, which is in the rest.
        limits = (len(row) - len(answer) - 1 for row, answer in zip(tokens, answers, strict=True))
        num_common = min(_num_common(tokens), *limits)
        return LabelPrompts(
            texts=tuple(texts),
            answers=tuple(answers),
            rests=tuple(tuple(row[num_common:]) for row in tokens) if num_common > 0 else None,
            yes=yes,
            no=no,
        )

    def _remember(self, key: tuple[object, ...], prompts: LabelPrompts) -> None:
        if len(self._known) >= _REMEMBERED:
            self._known.pop(next(iter(self._known)))
        self._known[key] = prompts


_ANY_IMAGE: Final = Image.new("RGB", (1, 1))  # a chat template asks only how many images there are


def _gap(text: str) -> str:
    """What stands between a prompt and its answer."""
    return "" if text[-1:].isspace() else " "


def _num_common(rows: Sequence[Sequence[int]]) -> int:
    """How many tokens all rows begin with."""
    return next(
        (index for index, tokens in enumerate(zip(*rows, strict=False)) if len(set(tokens)) > 1),
        min(map(len, rows)),
    )
