"""Words of a description that are hidden from the model, and what that does to the scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from mien.predict.explain.probe import ModelProbe, TextTokens

if TYPE_CHECKING:
    from mien.features.text import TokenSpan

__all__ = ["DescriptionWords", "WordSpan", "split_words"]

_JOINERS: Final = ("'", "\N{RIGHT SINGLE QUOTATION MARK}", "-")


@dataclass(frozen=True, slots=True)
class WordSpan:
    """A word of a text with the punctuation next to it.

    Attributes:
        start: Its first character.
        end: The one after its last.
        tokens: The tokens that it consists of, by their numbers in the text.
    """

    start: int
    end: int
    tokens: tuple[int, ...]


def split_words(text: str, spans: Sequence[TokenSpan]) -> tuple[WordSpan, ...]:
    """The words of a text that have tokens. What was cut off of an overlong text is in none.

    Args:
        text: The text.
        spans: Those of `TextTokenizer.spans`.
    """
    words: list[WordSpan] = []
    previous = None
    for index, span in enumerate(spans):
        if span.word is None or span.start == span.end:
            continue
        if words and (span.word == previous or _belongs(text, words[-1], span)):
            last = words[-1]
            words[-1] = WordSpan(last.start, max(last.end, span.end), (*last.tokens, index))
        else:
            words.append(WordSpan(span.start, span.end, (index,)))
        previous = span.word
    return tuple(words)


def _belongs(text: str, word: WordSpan, span: TokenSpan) -> bool:
    """Whether the token is punctuation of this word, or the word is punctuation of the token."""
    before, token = text[word.start : word.end], text[span.start : span.end]
    if span.start != word.end:
        return False
    has_letters = any(map(str.isalnum, before)), any(map(str.isalnum, token))
    return not all(has_letters) or before.endswith(_JOINERS)


class DescriptionWords:
    """The words of a description, each of which can be hidden: the model does not attend to its tokens.

    Hidden tokens also name no label: the learned bonus of `model.label_names` is gone with the words.

    Args:
        probe: The model.
        image: The image tokens of the person, which stay the same; None if the model reads none.
        text: The description.

    Attributes:
        text: The description.
        words: The words that the model reads.
        num_parts: Their number.
        is_cut: Whether the description has as many tokens as the model reads at most.
    """

    def __init__(
        self, probe: ModelProbe, image: Float[Tensor, "1 patch image_dim"] | None, text: str
    ) -> None:
        stage, tokens = probe.predictor.text_stage, probe.tokenize(text)
        assert stage is not None, "the model reads no text"
        assert tokens is not None, "as above"
        self._probe, self._image, self._tokens = probe, image, tokens
        self._pad = stage.tokenizer.pad_id
        self.text = text
        self.words = split_words(text, stage.tokenizer.spans(text))
        self.num_parts = len(self.words)
        self.is_cut = tokens.ids.shape[1] >= stage.tokenizer.max_tokens
        self._word_of_token = np.full(tokens.ids.shape[1], -1)
        for index, word in enumerate(self.words):
            self._word_of_token[list(word.tokens)] = index

    def hide(self, hidden: Bool[np.ndarray, "variant word"]) -> TextTokens:
        """The tokens with some words hidden, for each choice of words."""
        is_hidden = hidden[:, self._word_of_token] & (self._word_of_token >= 0)
        where = torch.from_numpy(is_hidden).to(self._tokens.ids.device)
        return TextTokens(self._tokens.ids.masked_fill(where, self._pad), self._tokens.mask & ~where)

    def scores(self, hidden: Bool[np.ndarray, "variant word"]) -> Float[np.ndarray, "variant label"]:
        """The scores with some words hidden, for each choice of words."""
        return self._probe.scores(self._image, self.hide(hidden))

    def occlusion(self, base: Float[np.ndarray, " label"]) -> Float[np.ndarray, "label word"]:
        """How much the score of each label drops while a word is hidden.

        Args:
            base: The scores with nothing hidden.
        """
        if not self.words:
            return np.zeros((len(base), 0))
        drops: np.ndarray = base - self.scores(np.eye(self.num_parts, dtype=bool))
        return drops.T

    def gradient_times_input(self, labels: Sequence[int]) -> Float[np.ndarray, "label word"] | None:
        """What each word adds to the logits of labels, by the gradient at the word's embedding.

        The sum over a word's embeddings of gradient times value (Shrikumar et al. 2016), of the logit, or of
        the log-probability if exactly one label holds. The bonus of a label that the text names is added to
        the words that name it, in equal parts: it does not depend on the embeddings, so it has no gradient.

        Returns:
            None if the model embeds no token ids with `torch.nn.Embedding`.
        """
        with torch.enable_grad(), _captured_embeddings(self._probe.classifier, self._tokens.ids) as captured:
            logits = self._probe.classify(self._image, self._tokens).logits
        if not captured:
            return None
        if self._probe.predictor.trained.label_set.exclusive:
            logits = logits.log_softmax(dim=-1)
        found = np.zeros((len(labels), self.num_parts))
        for row, label in enumerate(labels):
            (gradient,) = torch.autograd.grad(
                logits[0, label], captured[:1], retain_graph=True, allow_unused=True, materialize_grads=True
            )
            per_token = (gradient * captured[0])[0].sum(dim=-1).detach().float().cpu().numpy()
            found[row] = [per_token[list(word.tokens)].sum() for word in self.words]
            mentions = self.mentions(label)
            for word_index in (index for mention in mentions for index in mention):
                found[row, word_index] += self.bonus(label) / len(mentions) / len(mentions[0])
        return found

    def bonus(self, label: int) -> float:
        """What the label's logit gains if the description names it; 0 without `model.label_names`."""
        names = self._probe.classifier.names
        return 0.0 if names is None else float(names.bonus[label])

    def scores_without_bonus(self, label: int) -> Float[np.ndarray, " label"]:
        """The scores of the whole description without the bonus of a label that it names."""
        with torch.no_grad():
            output = self._probe.classify(self._image, self._tokens)
            logits = output.logits.clone()
            if self.mentions(label):
                logits[:, label] -= self.bonus(label)
        scores: np.ndarray = self._probe.predictor.scores(replace(output, logits=logits))[0]
        return scores

    def mentions(self, label: int) -> tuple[tuple[int, ...], ...]:
        """The words of each place where the description names the label, as the model finds names."""
        names = self._probe.classifier.names
        if names is None:
            return ()
        ids = self._tokens.ids[0].tolist()
        places = [
            range(start, start + len(name))
            for name in names.label_tokens[label]
            for start in range(len(ids) - len(name) + 1)
            if ids[start : start + len(name)] == list(name)
        ]
        found = (
            tuple(dict.fromkeys(int(word) for word in self._word_of_token[list(place)] if word >= 0))
            for place in places
        )
        return tuple(dict.fromkeys(words for words in found if words))


@contextmanager
def _captured_embeddings(
    model: nn.Module, ids: Int[Tensor, "batch token"]
) -> Iterator[list[Float[Tensor, "batch token width"]]]:
    """What embeddings make of these ids, as leaves of the graph of gradients."""
    captured: list[Tensor] = []

    def capture(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor | None:
        if not inputs or not torch.equal(inputs[0], ids):
            return None
        leaf = output.detach().requires_grad_()
        captured.append(leaf)
        return leaf

    modules = [module for module in model.modules() if isinstance(module, nn.Embedding)]
    hooks = [module.register_forward_hook(capture) for module in modules]
    try:
        yield captured
    finally:
        for hook in hooks:
            hook.remove()
