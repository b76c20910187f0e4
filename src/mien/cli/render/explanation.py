"""Explanations as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mien.cli.render.text import join_lines
from mien.predict.explain.page import naming_sentence, signed

if TYPE_CHECKING:
    from mien.predict.explain.counterfactuals import Counterfactual
    from mien.predict.explain.curves import Faithfulness
    from mien.predict.explain.explanation import Explanation, LabelExplanation

__all__ = ["render_explanation"]

_WORDS: Final = 6  # that are listed per label
_LEAST: Final = 0.0005  # a change that is shown as 0 is none
_PUNCTUATION: Final = '.,;:!?"()'  # next to a word; a list of words has its own


def render_explanation(explanation: Explanation) -> str:
    """The words and regions that matter for each label, then what if, then the notes."""
    lines = [f"{explanation.source}, person {explanation.person}"]
    if explanation.unsure_because:
        lines.append(f"not sure: {explanation.unsure_because}")
    for item in explanation.labels:
        lines += ["", *_label(item)]
    if explanation.counterfactuals:
        names = [item.label for item in explanation.labels]
        width = max(len(item.what) for item in explanation.counterfactuals)
        lines += ["", "what if"]
        lines += [_counterfactual(explanation, item, names, width) for item in explanation.counterfactuals]
    shares = explanation.attention_shares
    if shares is not None:
        lines += [
            "",
            f"attention: {shares.photo:.0%} photo, {shares.words:.0%} words, {shares.queries:.0%} queries, "
            f"{shares.other_image:.0%} padding and other tokens",
        ]
    lines += [f"note: {note}" for note in explanation.all_notes]
    return join_lines(lines)


def _label(item: LabelExplanation) -> list[str]:
    lines = [f"{item.label} {item.score:.3f}"]
    words = [word for word in item.top_words(_WORDS) if abs(word.occlusion) >= _LEAST]
    if item.words:
        named = ", ".join(f"{word.word.strip(_PUNCTUATION)} {signed(-word.occlusion, 3)}" for word in words)
        lines.append(f"  words, change of the score while hidden: {named or 'none matters'}")
    if item.naming is not None:
        lines.append(f"  {naming_sentence(item)}")
    if item.leading is not None:
        lines.append(
            f"  regions: look at the map by {item.leading.method} first{_gains(item.region_faithfulness)}"
        )
    if item.word_faithfulness:
        lines.append(f"  words: measured{_gains(item.word_faithfulness)}")
    return lines


def _gains(measured: tuple[Faithfulness, ...]) -> str:
    """The gain of each method next to the limit of chance."""
    if not measured:
        return " (faithfulness not measured)"
    gains = ", ".join(f"{item.method} {item.gain:+.3f}" for item in measured)
    return f" (gain over random: {gains}; chance up to {measured[0].limit:+.3f})"


def _counterfactual(explanation: Explanation, item: Counterfactual, names: list[str], width: int) -> str:
    if item.error is not None:
        return f"  {item.what:{width}}  failed: {item.error}"
    change = item.change(explanation.scores)
    cells = ", ".join(f"{name} {item.scores[name]:.2f} ({signed(change[name])})" for name in names)
    best = max(item.scores, key=lambda label: item.scores[label])
    return f"  {item.what:{width}}  {cells}; highest {best} {item.scores[best]:.2f}"
