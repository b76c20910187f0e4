"""What a loaded model thinks of many short texts about the same images, from one pass over what they share.

The prompts of one subject differ from some token on: before it are the images and most of the question. The
keys and values of that prefix are computed once, and the rests of all prompts attend to them in one batch.
Subjects with the same questions and with images of the same sizes share these passes: their prefixes are
equally long, so none is padded. A rest may be padded on its right, where a causal model never looks, so
positions are those of a whole pass. The probabilities are those of separate passes, up to rounding.

Where a prefix cannot be shared, every prompt gets a pass of its own: the images come after the question, the
prompt is not read causally, or the model remembers anything but keys and values.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Final

from mien.describe.engine import Request
from mien.describe.local.label_prompts import Images, LabelPrompts, PromptBuilder
from mien.describe.local.library import cache_keyword
from mien.describe.local.model import LocalModel
from mien.errors import EngineDownError

__all__ = ["PrefixScorer"]

_log = logging.getLogger(__name__)
# A layer's keys and values are copied for each prompt of a pass, which has no more prompts than fit into so
# many bytes; but these many it may always have.
_PASS_BYTES: Final = 64_000_000
_ROWS: Final = 32
# Families whose shared passes are tested to equal whole ones; others are compared on their first subjects.
_TESTED: Final = frozenset(
    {
        *("llava", "llava_next", "llava_onevision", "idefics3", "smolvlm", "internvl", "gemma3"),
        *("qwen2_5_vl", "qwen3_vl"),
    }
)
_TOLERANCE: Final = 0.02  # of a probability; half precision rounds to about half of it

# Caches of keys and values, whole or of a window.
_LAYERS: Final = frozenset({"DynamicLayer", "DynamicSlidingWindowLayer"})


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
        self._builder = PromptBuilder(model, thinking)
        self._shares_prefix = shares_prefix is not False
        # Whether one subject alone, and several at once, are known to score as in whole passes.
        is_known = shares_prefix or model.module.config.model_type in _TESTED
        self._compared: set[bool] = {False, True} if is_known else set()

    def yes_probabilities(
        self, images: Sequence[Images], questions: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        """The probability of "yes", given that the answer is "yes" or "no", per subject and question.

        Args:
            images: Those of each subject.
            questions: Those about each subject.
        """
        import torch

        asked = [
            self._builder.yes_no(len(some), texts) for some, texts in zip(images, questions, strict=True)
        ]
        found = []
        for prompts, rows in zip(asked, self._logits(images, asked), strict=True):
            last = torch.stack([row[-1] for row in rows]).double()
            odds = last[:, prompts.yes].logsumexp(1) - last[:, prompts.no].logsumexp(1)
            found.append(torch.sigmoid(odds).tolist())
        return found

    def answer_log_likelihoods(
        self, images: Sequence[Images], questions: Sequence[str], answers: Sequence[str]
    ) -> list[list[float]]:
        """The mean log-probability of the tokens of each answer, per subject and answer.

        Args:
            images: Those of each subject.
            questions: The question about each subject.
            answers: The answers to all questions.
        """
        asked = [
            self._builder.answered(len(some), question, answers)
            for some, question in zip(images, questions, strict=True)
        ]
        return [
            [_mean_log_probability(*one) for one in zip(rows, prompts.answers, strict=True)]
            for prompts, rows in zip(asked, self._logits(images, asked), strict=True)
        ]

    # --- One pass for what is shared, or a pass for each ---

    def _logits(self, images: Sequence[Images], asked: Sequence[LabelPrompts]) -> list[list[Any]]:
        """For each prompt of each subject, logits of its scored tokens and of what follows it.

        Each has shape (tokens + 1, vocabulary).
        """
        import torch

        alike: dict[tuple[object, ...], list[int]] = {}
        for index, (some, prompts) in enumerate(zip(images, asked, strict=True)):
            alike.setdefault((prompts, *(image.size for image in some)), []).append(index)
        found: dict[int, list[Any]] = {}
        with torch.inference_mode():
            for indices in alike.values():
                group = [images[index] for index in indices]
                found |= zip(indices, self._logits_of_group(group, asked[indices[0]]), strict=True)
        return [found[index] for index in range(len(images))]

    def _logits_of_group(self, images: Sequence[Images], prompts: LabelPrompts) -> Iterator[list[Any]]:
        """The logits of subjects whose prompts and sizes of images are the same."""
        start, most = 0, 1
        if len(images) > 1 and self._shares_prefix:
            most = self._max_subjects(images[0], prompts)
        while start < len(images) and self._shares_prefix:
            some = images[start : start + most]
            if (shared := self._compared_logits(some, prompts)) is not None:
                yield from shared
                start += len(some)
        for one in images[start:]:
            yield [self._whole_logits(one, prompts, index) for index in range(len(prompts.texts))]

    def _compared_logits(self, images: Sequence[Images], prompts: LabelPrompts) -> list[list[Any]] | None:
        """The logits by a shared prefix; None, once and for all, if they are not those of whole passes."""
        shared = self._shared_logits(images, prompts)
        is_batch = len(images) > 1
        if shared is None or is_batch in self._compared:
            return shared
        whole = self._whole_logits(images[-1], prompts, len(prompts.texts) - 1)
        difference = (whole.softmax(-1) - shared[-1][-1].softmax(-1)).abs().max().item()
        if not difference <= _TOLERANCE:
            self._stop_sharing(f"a probability differs by {difference:.3f} otherwise")
            return None
        self._compared.add(is_batch)
        return shared

    def _stop_sharing(self, why: str) -> None:
        self._shares_prefix = False
        _log.warning(
            "a model of type %r reads the image again for each label, because %s",
            self._model.module.config.model_type,
            why,
        )

    def _inputs(self, images: Sequence[Images], text: str) -> Any:
        requests = [Request(subject_id="", images=some, prompt="") for some in images]
        inputs = self._model.prepare([text] * len(images), requests)
        inputs.pop("labels", None)  # PaliGemma's processor prepares a training
        return inputs

    def _whole_logits(self, images: Images, prompts: LabelPrompts, index: int) -> Any:
        inputs, answer = self._inputs([images], prompts.texts[index]), prompts.answers[index]
        count = len(answer)
        if count and inputs["input_ids"][0, -count:].tolist() != list(answer):
            raise EngineDownError(
                f"the processor of a model of type {self._model.module.config.model_type!r} changes what "
                "is answered",
                hint='use answer="yes_no"',
            )
        output = self._model.module(**inputs, use_cache=False, logits_to_keep=count + 1)
        return output.logits[0, -count - 1 :].float()

    def _shared_logits(self, images: Sequence[Images], prompts: LabelPrompts) -> list[list[Any]] | None:
        """The logits by a shared prefix; None, once and for all, if the model does not allow it."""
        inputs = self._inputs(images, prompts.texts[0])
        num_shared = _num_shared(inputs["input_ids"], prompts)
        if not num_shared:
            self._stop_sharing("its prompts share no beginning with the image in it")
            return None
        prefix = {
            # Masks and types of tokens are as long as the tokens.
            name: value[:, :num_shared]
            if getattr(value, "shape", None) == inputs["input_ids"].shape
            else value
            for name, value in inputs.items()
        }
        cache = self._model.module(**prefix, use_cache=True, logits_to_keep=1).get(cache_keyword())
        layers = getattr(cache, "layers", None)
        if not layers or any(type(layer).__name__ not in _LAYERS for layer in layers):
            self._stop_sharing("it remembers more than keys and values")
            return None
        for layer in layers:
            layer.update = partial(_read_only, layer)
        found: list[list[Any]] = [[None] * len(prompts.texts) for _ in images]
        for indices in prompts.passes(len(images), self._max_rows(inputs["input_ids"].shape[1])):
            for (subject, index), logits in self._rest_logits(cache, prompts, indices, len(images)):
                found[subject][index] = logits
        return found

    def _rest_logits(
        self, cache: Any, prompts: LabelPrompts, indices: Sequence[int], num_subjects: int
    ) -> Iterator[tuple[tuple[int, int], Any]]:
        """The logits of some prompts by the numbers of subject and prompt."""
        import torch

        assert prompts.rests is not None
        rests = [prompts.rests[index] for index in indices]
        longest = max(map(len, rests))
        pad = self._model.processor.tokenizer.pad_token_id
        ids = [[*rest, *[pad] * (longest - len(rest))] for rest in rests]
        starts = [
            len(rest) - len(prompts.answers[index]) - 1 for index, rest in zip(indices, rests, strict=True)
        ]
        output = self._model.module(
            input_ids=torch.tensor(ids * num_subjects, device=self._model.module.device),
            use_cache=True,
            logits_to_keep=longest - min(starts),
            **{cache_keyword(): cache},
        )
        for row in range(num_subjects * len(indices)):
            subject, position = divmod(row, len(indices))
            # From the right, whether the model gave all rows or the last.
            first, end = starts[position] - longest, len(rests[position]) - longest or None
            yield (subject, indices[position]), output.logits[row, first:end].float()

    # --- Memory ---

    def _max_subjects(self, images: Images, prompts: LabelPrompts) -> int:
        """How many subjects share a pass; one if there are more prompts than a pass may have.

        It depends on nothing but the sizes, so that subjects share a pass with the same others in each run.
        """
        num_tokens = self._inputs([images], prompts.texts[0])["input_ids"].shape[1]
        return max(1, self._max_rows(num_tokens) // len(prompts.texts))

    def _max_rows(self, num_tokens: int) -> int:
        config = self._model.module.config.get_text_config(decoder=True)
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        row_bytes: int = 2 * num_tokens * heads * width * self._model.module.dtype.itemsize
        return max(_ROWS, _PASS_BYTES // row_bytes)


def _num_shared(ids: Any, prompts: LabelPrompts) -> int:
    """How many tokens all prompts begin with, of which these are the first ones; 0 if it is not clear.

    Args:
        ids: Tokens of shape (subject, token), with those of the images.
        prompts: The prompts.
    """
    if prompts.rests is None:
        return 0
    first = list(prompts.rests[0])
    num_shared = max(0, ids.shape[1] - len(first))
    return num_shared if all(row[num_shared:] == first for row in ids.tolist()) else 0


def _read_only(layer: Any, keys: Any, values: Any, *_: Any, **__: Any) -> tuple[Any, Any]:
    """Replaces a layer's `update`: any number of rows reads the prefix, and nothing of theirs is kept.

    The rows of a subject follow one another.
    """
    return _behind(layer.keys, keys), _behind(layer.values, values)


def _behind(prefix: Any, rest: Any) -> Any:
    """Each row behind the prefix of its subject, in one copy."""
    num_subjects, num_heads, length, width = prefix.shape
    rows = rest.new_empty(num_subjects, len(rest) // num_subjects, num_heads, length + rest.shape[2], width)
    rows[..., :length, :] = prefix[:, None]
    rows[..., length:, :] = rest.reshape(*rows.shape[:3], -1, width)
    return rows.flatten(0, 1)


def _mean_log_probability(logits: Any, answer: Sequence[int]) -> float:
    """Of the tokens of an answer, from the logits of what stands at their place and, last, behind them."""
    log_probabilities = logits[:-1].double().log_softmax(-1)
    return float(sum(log_probabilities[index, token] for index, token in enumerate(answer)) / len(answer))
