"""Rows of results by group of people, and by how annotators are combined."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["AnnotatorRow", "GroupRow"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRow:
    """A metric of one group of people, such as those annotated as adults: for audits only.

    Attributes:
        name: The model.
        split: The split.
        attribute: What groups people, such as "age".
        group: Which group, as the dataset spells it.
        metric: The metric.
        value: The metric of the group; None if it has fewer than 5 people, or if they do not determine the
            metric.
        low: Lower bound of the 95 % interval; None without a value, or if the split has one image.
        high: Upper bound of the 95 % interval; None without a value, or if the split has one image.
        chance: What a model that sees neither image nor text reaches on the group.
        n: How many people the group has.
        images: How many images they are in. With fewer than 100, the interval is approximate.
        labels: How many labels count: those that someone in the group has; None for dimensions alone.
        compared_with: The largest group of the attribute; "" where the metric does not compare groups.
        difference: `value` minus the metric of the group `compared_with`.
        difference_low: Lower bound of the 95 % interval of `difference`, on the same resamples of both
            groups.
        difference_high: Upper bound of the 95 % interval of `difference`, on the same resamples of both
            groups.
    """

    name: str
    split: str
    attribute: str
    group: str
    metric: str
    value: float | None
    low: float | None
    high: float | None
    chance: float | None
    n: int
    images: int
    labels: int | None = None
    compared_with: str = ""
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None

    @property
    def excludes_zero(self) -> bool:
        """True if the whole interval of the difference lies on one side of zero: the groups differ."""
        low, high = self.difference_low, self.difference_high
        return low is not None and high is not None and (low > 0 or high < 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatorRow:
    """A model on one split, rated against one way to combine the annotators.

    Attributes:
        name: The model.
        metric: The metric.
        split: The split.
        truth: "union", the labels that any annotator chose; or "majority", those that more than half chose,
            or the most frequent ones if there are none.
        value: The metric.
        low: Lower bound of the 95 % interval; None if the samples are of one image.
        high: Upper bound of the 95 % interval; None if the samples are of one image.
        chance: What scores that say nothing reach on this truth.
        n: How many samples there are.
        labels: How many labels at least one sample has on this truth; None if there are no labels.
        annotators: The mean number of annotators per sample.
    """

    name: str
    metric: str
    split: str
    truth: str
    value: float
    low: float | None
    high: float | None
    chance: float
    n: int
    labels: int | None
    annotators: float
