"""Scores that others reported, for comparison: on the same dataset and in the same metric, with every caveat.

The name of a dataset proves nothing: scenes drawn in EMOTIC's layout are read by the same reader. So these
rows are shown on request only, and `comparison_caveats` says why they may not be comparable: a number of
subjects other than in the official split, another split, or models that know only drawn scenes. None of the
publications says which definition of average precision it uses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["PUBLISHED", "Published", "comparison_caveats", "published_rows"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One reported score, on 0..1, and the split it is reported on."""

    name: str
    dataset: str
    metric: str
    value: float
    split: str
    source: str
    caveat: str = ""


_XENOS: Final = "Xenos et al., arXiv 2404.07078"
_CCIM: Final = "Yang et al., CVPR 2023"
_EMOTION_CLIP: Final = "Zhang et al., CVPR 2023"
_DSCT: Final = "Chen et al., arXiv 2404.17205"
_NO_TEST_LABELS: Final = "split inferred: BoLD's test labels are not public"
_DOUBTFUL: Final = "split doubtful"

PUBLISHED: Final = (
    Published(
        name="EmotiCon + CCIM",
        dataset="emotic",
        metric="mAP",
        value=0.3913,
        split="test",
        source=_CCIM,
        caveat=_DOUBTFUL,
    ),
    Published(name="Xenos et al.", dataset="emotic", metric="mAP", value=0.3852, split="test", source=_XENOS),
    Published(
        name="EmotiCon + CLEF",
        dataset="emotic",
        metric="mAP",
        value=0.3805,
        split="test",
        source="Yang et al., CVPR 2024",
        caveat=_DOUBTFUL,
    ),
    Published(
        name="multi-view InstructBLIP",
        dataset="emotic",
        metric="mAP",
        value=0.3788,
        split="test",
        source="second-hand",
        caveat="not read at its source",
    ),
    Published(
        name="DSCT-R101",
        dataset="emotic",
        metric="mAP",
        value=0.3781,
        split="test",
        source=_DSCT,
        caveat="head boxes, another subset of the people",
    ),
    Published(
        name="EmotiCon",
        dataset="emotic",
        metric="mAP",
        value=0.3548,
        split="test",
        source="Mittal et al., CVPR 2020",
    ),
    Published(
        name="EmotionCLIP linear probe",
        dataset="emotic",
        metric="mAP",
        value=0.3291,
        split="test",
        source=_EMOTION_CLIP,
    ),
    Published(
        name="Kosti et al.",
        dataset="emotic",
        metric="mAP",
        value=0.2738,
        split="test",
        source="Kosti et al., TPAMI 2019",
    ),
    Published(
        name="Xenos et al.", dataset="caers", metric="accuracy", value=0.9308, split="test", source=_XENOS
    ),
    Published(
        name="POSTER++",
        dataset="caers",
        metric="accuracy",
        value=0.93,
        split="test",
        source="Mao et al., arXiv 2301.12149",
        caveat="face only",
    ),
    Published(name="DSCT-R50", dataset="caers", metric="accuracy", value=0.9181, split="test", source=_DSCT),
    Published(
        name="EmotiCon + CCIM", dataset="caers", metric="accuracy", value=0.9117, split="test", source=_CCIM
    ),
    Published(
        name="GLAMOR-Net R18",
        dataset="caers",
        metric="accuracy",
        value=0.8988,
        split="test",
        source="Le et al., 2022",
    ),
    Published(
        name="CAER-Net-S",
        dataset="caers",
        metric="accuracy",
        value=0.7351,
        split="test",
        source="Lee et al., ICCV 2019",
    ),
    *(
        Published(
            name="Xenos et al.",
            dataset="bold",
            metric=metric,
            value=value,
            split="val",
            source=_XENOS,
            caveat=_NO_TEST_LABELS,
        )
        for metric, value in (("mAP", 0.2666), ("mRA", 0.6983))
    ),
    *(
        Published(
            name="EmotionCLIP",
            dataset="bold",
            metric=metric,
            value=value,
            split="val",
            source=_EMOTION_CLIP,
            caveat=f"reported by others; {_NO_TEST_LABELS}",
        )
        for metric, value in (("mAP", 0.2251), ("mRA", 0.6930))
    ),
    *(
        Published(
            name="ARBEE",
            dataset="bold",
            metric=metric,
            value=value,
            split="val",
            source="Luo et al., IJCV 2020",
            caveat=f"reported by others; {_NO_TEST_LABELS}",
        )
        for metric, value in (("mAP", 0.1702), ("mRA", 0.6270))
    ),
    Published(
        name="Pikoulis et al.",
        dataset="bold",
        metric="ERS",
        value=0.2882,
        split="val",
        source="Pikoulis et al., FG 2021",
    ),
    Published(
        name="Filntisis et al.",
        dataset="bold",
        metric="ERS",
        value=0.2613,
        split="test",
        source="Filntisis et al., ECCV workshops 2020",
    ),
)


def published_rows(dataset: str, metrics: Sequence[str]) -> tuple[Published, ...]:
    """The rows on this dataset in these metrics, best first within a metric."""
    found = [row for row in PUBLISHED if row.dataset == dataset and row.metric in metrics]
    return tuple(sorted(found, key=lambda row: (metrics.index(row.metric), -row.value)))


def comparison_caveats(row: Published, *, split: str, n: int, official: int | None, drawn: bool) -> str:
    """Why scores of runs may not be comparable to a published one.

    Args:
        row: The published score.
        split: The split of the runs.
        n: How many subjects they were scored on.
        official: How many subjects the whole split has; None if unknown.
        drawn: Whether a model of the runs knows only drawn scenes.

    Returns:
        The caveats, separated by semicolons; "" if there are none.
    """
    found = [row.caveat] if row.caveat else []
    if row.split != split:
        found.append(f"not comparable: on split {row.split}, the runs on {split}")
    if official is not None and n != official:
        found.append(f"not comparable: {n:,} subjects here, {official:,} in the whole split")
    if official is None:
        found.append(f"unknown whether the {n:,} subjects here are the whole split")
    if drawn:
        found.append("not comparable: models of the runs know only drawn scenes")
    return "; ".join(found)
