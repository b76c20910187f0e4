"""What a model thinks of answers whose encoder reads the question, and whose decoder writes the answer.

The question is read in both directions, so each question about an image is a pass of its own. Several answers
to one question share it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mien.describe.engine import Request
from mien.describe.local.label_prompts import Images
from mien.describe.local.model import LocalModel, decoder_start_tokens
from mien.describe.local.yes_no import NO, YES, distinct_tokens, first_tokens

__all__ = ["EncoderDecoderScorer"]


class EncoderDecoderScorer:
    """Asks one model with an encoder about labels, as `PrefixScorer` asks others. Not for several threads."""

    def __init__(self, model: LocalModel) -> None:
        self._model = model
        self._start = decoder_start_tokens(model.module)

    def yes_probabilities(
        self, images: Sequence[Images], questions: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        """The probability of "yes", given that the answer is "yes" or "no", per subject and question."""
        tokenizer = self._model.processor.tokenizer
        yes, no = distinct_tokens(tokenizer, first_tokens(tokenizer, YES), first_tokens(tokenizer, NO))
        return [
            [self._yes_probability(some, question, yes, no) for question in texts]
            for some, texts in zip(images, questions, strict=True)
        ]

    def answer_log_likelihoods(
        self, images: Sequence[Images], questions: Sequence[str], answers: Sequence[str]
    ) -> list[list[float]]:
        """The mean log-probability of the tokens of each answer, per subject and answer."""
        tokens = self._model.processor.tokenizer(list(answers), add_special_tokens=False)["input_ids"]
        return [
            self._log_likelihoods(some, question, tokens)
            for some, question in zip(images, questions, strict=True)
        ]

    def _yes_probability(self, images: Images, question: str, yes: Sequence[int], no: Sequence[int]) -> float:
        import torch

        last = self._logits(images, question, [[]])[0, -1]
        return float(torch.sigmoid(last[yes].logsumexp(0) - last[no].logsumexp(0)))

    def _log_likelihoods(self, images: Images, question: str, tokens: Sequence[Sequence[int]]) -> list[float]:
        log_probabilities = self._logits(images, question, tokens).log_softmax(-1)
        first = len(self._start) - 1  # the logits after the start tokens are about the first token
        return [
            float(sum(rows[first + index, token] for index, token in enumerate(answer)) / len(answer))
            for rows, answer in zip(log_probabilities, tokens, strict=True)
        ]

    def _logits(self, images: Images, question: str, answers: Sequence[Sequence[int]]) -> Any:
        """Logits of shape (answer, token, vocabulary), of the start tokens and of those of each answer.

        Answers are padded on the right, where a decoder never looks.
        """
        import torch
        from transformers.modeling_outputs import BaseModelOutput

        request = Request(subject_id="", images=images, prompt=question)
        longest = max(map(len, answers))
        pad = self._model.processor.tokenizer.pad_token_id
        rows = [[*self._start, *answer, *[pad] * (longest - len(answer))] for answer in answers]
        module = self._model.module
        decoder_input = torch.tensor(rows, device=module.device)
        with torch.inference_mode():
            inputs = self._model.prepare([self._model.prompt_text(request)], [request])
            output = module(**inputs, decoder_input_ids=decoder_input[:1], use_cache=False)
            if len(rows) > 1:
                hidden, mask = output.encoder_last_hidden_state, inputs["attention_mask"]
                output = module(
                    encoder_outputs=BaseModelOutput(last_hidden_state=hidden.expand(len(rows), -1, -1)),
                    attention_mask=mask.expand(len(rows), -1),
                    decoder_input_ids=decoder_input,
                    use_cache=False,
                )
            return output.logits.double()
