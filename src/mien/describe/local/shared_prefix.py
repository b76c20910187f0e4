"""What a loaded model thinks of many short texts about the same images, from one pass over what they share.

The prompts of one subject differ from some token on: before it are the images and most of the question. The
keys and values of that prefix are computed once, and the rests of all prompts attend to them in one batch.
A rest is padded on its right, where a causal model never looks, so that positions are those of a whole pass.
The probabilities are those of separate passes, up to rounding.

Where a prefix cannot be shared, every prompt gets a pass of its own: the images come after the question, the
prompt is not read causally, or the model remembers anything but keys and values.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from PIL import Image

from mien.describe.engine import Request
from mien.describe.local.model import LocalModel
from mien.describe.local.yes_no import NO, YES, distinct_tokens, first_tokens
from mien.errors import EngineDownError

__all__ = ["PrefixScorer"]

_log = logging.getLogger(__name__)
_ROWS: Final = 32  # prompts at once: each layer's keys and values are copied for all of them
# Families whose shared passes are tested to equal whole ones; others are compared on their first subject.
_TESTED: Final = frozenset(
    {
        *("llava", "llava_next", "llava_onevision", "idefics3", "smolvlm", "internvl", "gemma3"),
        *("qwen2_5_vl", "qwen3_vl"),
    }
)
_TOLERANCE: Final = 0.02  # of a probability; half precision rounds to about half of it

# Caches of keys and values, whole or of a window.
_LAYERS: Final = frozenset({"DynamicLayer", "DynamicSlidingWindowLayer"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prompts:
    """Prompts of one subject as tokens.

    Attributes:
        inputs: What the model takes for the whole first prompt, images included.
        num_shared: Tokens that all of them begin with, the images' included; 0 if they cannot share any.
        rests: The further tokens of each.
    """

    inputs: Any
    num_shared: int
    rests: tuple[tuple[int, ...], ...]


class PrefixScorer:
    """Asks one model about labels. Not for several threads.

    Args:
        model: The loaded model.
        thinking: See `LocalOptions`.
        shares_prefix: Whether to share the pass over the images; None where the model allows it.
    """

    def __init__(
        self, model: LocalModel, *, thinking: bool | None = None, shares_prefix: bool | None = None
    ) -> None:
        self._model = model
        self._thinking = thinking
        self._shares_prefix = shares_prefix
        if shares_prefix is None and model.module.config.model_type in _TESTED:
            self._shares_prefix = True

    def yes_probabilities(self, images: tuple[Image.Image, ...], questions: Sequence[str]) -> list[float]:
        """The probability of "yes", given that the answer is "yes" or "no", per question about the images."""
        import torch

        texts = [self._text(images, question) for question in questions]
        start, yes, no = self._answer_tokens(texts[0])
        found = []
        for rows in self._logits(images, [text + start for text in texts], [0] * len(texts)):
            last = rows[-1].double()
            found.append(torch.sigmoid(last[yes].logsumexp(0) - last[no].logsumexp(0)).item())
        return found

    def answer_log_likelihoods(
        self, images: tuple[Image.Image, ...], question: str, answers: Sequence[str]
    ) -> list[float]:
        """The mean log-probability of the tokens of each answer to one question about the images."""
        text = self._text(images, question)
        texts = [f"{text}{_gap(text)}{answer}" for answer in answers]
        (plain,), wholes = self._tokenize([text]), self._tokenize(texts)
        counts = [len(whole) - _num_common([plain, whole]) for whole in wholes]
        found = []
        for rows, whole, count in zip(self._logits(images, texts, counts), wholes, counts, strict=True):
            # Before each token of the answer; the last row is about what would follow it.
            log_probabilities = rows[:-1].double().log_softmax(-1)
            picked = [log_probabilities[index, token] for index, token in enumerate(whole[-count:])]
            found.append(float(sum(picked) / count))
        return found

    # --- Texts and tokens ---

    def _text(self, images: tuple[Image.Image, ...], question: str) -> str:
        return self._model.prompt_text(_request(images, question), thinking=self._thinking)

    def _inputs(self, images: tuple[Image.Image, ...], text: str) -> Any:
        inputs = self._model.prepare([text], [_request(images)])
        inputs.pop("labels", None)  # PaliGemma's processor prepares a training
        return inputs

    def _tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of each text, with one placeholder per image."""
        tokenizer = self._model.processor.tokenizer
        found = tokenizer(list(texts), add_special_tokens=self._model.adds_special_tokens(texts[0]))
        return [list(row) for row in found["input_ids"]]

    def _answer_tokens(self, text: str) -> tuple[str, list[int], list[int]]:
        """What an answer to this prompt begins with before its first word, and the tokens of yes and of no.

        Some tokenizers write the space before the word as a token of its own, which tells nothing.
        """
        gap = _gap(text)
        plain, spaced, *rows = self._tokenize([text, text + gap, *(text + gap + word for word in YES + NO)])
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

    # --- One pass for what is shared, or a pass for each ---

    def _logits(self, images: tuple[Image.Image, ...], texts: list[str], counts: list[int]) -> list[Any]:
        """For each text, logits of shape (count + 1, vocabulary): of its last tokens, and of the next one."""
        import torch

        with torch.inference_mode():
            shared = None if self._shares_prefix is False else self._shared_logits(images, texts, counts)
            if shared is None:
                return [self._whole_logits(images, *one) for one in zip(texts, counts, strict=True)]
            if self._shares_prefix is None:
                whole = self._whole_logits(images, texts[-1], counts[-1])
                difference = (whole.softmax(-1) - shared[-1].softmax(-1)).abs().max().item()
                if not difference <= _TOLERANCE:
                    self._stop_sharing(f"a probability differs by {difference:.3f} otherwise")
                    return self._logits(images, texts, counts)
                self._shares_prefix = True
            return shared

    def _stop_sharing(self, why: str) -> None:
        self._shares_prefix = False
        _log.warning(
            "a model of type %r reads the image again for each label, because %s",
            self._model.module.config.model_type,
            why,
        )

    def _whole_logits(self, images: tuple[Image.Image, ...], text: str, count: int) -> Any:
        inputs = self._inputs(images, text)
        if count and inputs["input_ids"][0, -count:].tolist() != self._tokenize([text])[0][-count:]:
            raise EngineDownError(
                f"the processor of a model of type {self._model.module.config.model_type!r} changes what "
                "is answered",
                hint='use answer="yes_no"',
            )
        output = self._model.module(**inputs, use_cache=False, logits_to_keep=count + 1)
        return output.logits[0, -count - 1 :].float()

    def _shared_logits(
        self, images: tuple[Image.Image, ...], texts: list[str], counts: list[int]
    ) -> list[Any] | None:
        """The logits by a shared prefix; None, once and for all, if the model does not allow it."""
        prompts = self._prompts(images, texts, counts)
        if prompts is None:
            self._stop_sharing("its prompts share no beginning with the image in it")
            return None
        inputs = {
            # Masks and types of tokens are as long as the tokens.
            name: value[:, : prompts.num_shared]
            if getattr(value, "shape", None) == prompts.inputs["input_ids"].shape
            else value
            for name, value in prompts.inputs.items()
        }
        cache = self._model.module(**inputs, use_cache=True, logits_to_keep=1).past_key_values
        layers = getattr(cache, "layers", None)
        if not layers or any(type(layer).__name__ not in _LAYERS for layer in layers):
            self._stop_sharing("it remembers more than keys and values")
            return None
        for layer in layers:
            layer.update = partial(_read_only, layer)
        found: list[Any] = []
        for start in range(0, len(texts), _ROWS):
            rows = slice(start, start + _ROWS)
            found += self._rest_logits(cache, prompts.rests[rows], counts[rows])
        return found

    def _rest_logits(
        self, cache: Any, rests: Sequence[Sequence[int]], counts: Sequence[int]
    ) -> Iterator[Any]:
        import torch

        longest = max(map(len, rests))
        pad = self._model.processor.tokenizer.pad_token_id
        ids = [[*rest, *[pad] * (longest - len(rest))] for rest in rests]
        starts = [len(rest) - count - 1 for rest, count in zip(rests, counts, strict=True)]
        output = self._model.module(
            input_ids=torch.tensor(ids, device=self._model.module.device),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=longest - min(starts),
        )
        for row, (start, rest) in enumerate(zip(starts, rests, strict=True)):
            first = start - longest  # from the right, whether the model gave all rows or the last
            yield output.logits[row, first : len(rest) - longest or None].float()

    def _prompts(
        self, images: tuple[Image.Image, ...], texts: list[str], counts: list[int]
    ) -> _Prompts | None:
        """The tokens of all prompts; None if the images are not in what they share.

        The processor sees the images once, with the first prompt.
        """
        tokens = self._tokenize(texts)
        inputs = self._inputs(images, texts[0])
        whole = tuple(inputs["input_ids"][0].tolist())
        # The logits before a scored token are those of the token before it, which is in the rest.
        limits = (len(row) - count - 1 for row, count in zip(tokens, counts, strict=True))
        num_common = min(_num_common(tokens), *limits)
        rests = tuple(tuple(row[num_common:]) for row in tokens)
        num_shared = len(whole) - len(rests[0])
        if num_common <= 0 or num_shared <= 0 or whole[num_shared:] != rests[0]:
            return None
        return _Prompts(inputs=inputs, num_shared=num_shared, rests=rests)


def _read_only(layer: Any, keys: Any, values: Any, *_: Any, **__: Any) -> tuple[Any, Any]:
    """Replaces a layer's `update`: any number of rows reads the prefix, and nothing of theirs is kept."""
    import torch

    return tuple(  # type: ignore[return-value]  # two
        torch.cat([prefix.expand(len(rest), *prefix.shape[1:]), rest], dim=-2)
        for prefix, rest in ((layer.keys, keys), (layer.values, values))
    )


def _request(images: tuple[Image.Image, ...], question: str = "") -> Request:
    return Request(subject_id="", images=images, prompt=question)


def _gap(text: str) -> str:
    """What stands between a prompt and its answer."""
    return "" if text[-1:].isspace() else " "


def _num_common(rows: Sequence[Sequence[int]]) -> int:
    """How many tokens all rows begin with."""
    return next(
        (index for index, tokens in enumerate(zip(*rows, strict=False)) if len(set(tokens)) > 1),
        min(map(len, rows)),
    )
