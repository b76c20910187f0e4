"""Every way to score without training keeps the contract, with real models of random or embedded weights."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from tests.factories.tiny_image_text import build_tiny_clip_pair, build_tiny_siglip_pair

import mien
from mien.describe.fake import FakeEngine
from mien.describe.local.engine import LocalEngine
from mien.errors import (
    ConfigError,
    DataError,
    ImageError,
    MienError,
    RunError,
    UnknownNameError,
    WeightsError,
)
from mien.evaluate.calibration.calibrate import Calibration
from mien.playhouse.embedded_models import embedded_model_folder
from mien.predict.predictor import Predictor
from mien.predict.zero_shot.predictor import ZeroShotPredictor
from mien.types import Prediction, Subject

Open = Callable[..., ZeroShotPredictor]
WAYS = ("yes_no", "label", "words", "clip", "siglip")
LABELS = ("calm", "afraid", "very proud")


@pytest.fixture(scope="module", params=WAYS)
def open_way(
    request: pytest.FixtureRequest, embedded: LocalEngine, tmp_path_factory: pytest.TempPathFactory
) -> Open:
    """Opens a predictor of one kind; its models are loaded once."""
    if request.param in ("yes_no", "label"):
        return lambda labels=LABELS, **more: Predictor.zero_shot(
            labels=labels, engine=embedded, answer=request.param, **more
        )
    if request.param == "words":
        return lambda labels=LABELS, **more: Predictor.zero_shot(
            labels=labels, engine=FakeEngine(), method="words", encoder=None, prompt="caption", **more
        )
    build = build_tiny_clip_pair if request.param == "clip" else build_tiny_siglip_pair
    model = str(build(tmp_path_factory.mktemp("models") / request.param))
    return lambda labels=LABELS, **more: Predictor.zero_shot(
        model, labels, method="similarity", device="cpu", **more
    )


def scores_of(predictor: ZeroShotPredictor, subjects: list[Subject]) -> list[tuple[float, ...]]:
    return [tuple(prediction.scores.values()) for prediction in predictor.predict(subjects)]


def test_each_subject_has_a_score_from_0_to_1_per_label(open_way: Open, subjects: list[Subject]) -> None:
    for prediction, subject in zip(open_way().predict(subjects), subjects, strict=True):
        assert prediction.subject_id == subject.id
        assert tuple(prediction.scores) == LABELS
        assert prediction.label_set == "own"
        assert prediction.status == "uncalibrated"
        assert prediction.thresholds is None


def test_a_batch_is_scored_as_its_subjects_one_by_one(open_way: Open, subjects: list[Subject]) -> None:
    predictor = open_way()
    together = scores_of(predictor, subjects)
    alone = [scores_of(predictor, [subject])[0] for subject in subjects]
    for one, other in zip(together, alone, strict=True):
        assert one == pytest.approx(other, abs=1e-6)


def test_the_order_of_labels_does_not_matter(open_way: Open, subjects: list[Subject]) -> None:
    forward, backward = open_way().predict(subjects), open_way(labels=LABELS[::-1]).predict(subjects)
    for one, other in zip(forward, backward, strict=True):
        assert dict(one.scores) == pytest.approx(dict(other.scores), abs=1e-5)


def test_a_bad_subject_costs_no_other(open_way: Open, subjects: list[Subject], bad: list[Subject]) -> None:
    predictor = open_way()
    mixed = [bad[0], subjects[0], bad[1], bad[2], subjects[3]]
    found = list(predictor.each(mixed, batch_size=3))
    assert [isinstance(one, MienError) for one in found] == [True, False, True, True, False]
    assert isinstance(found[0], ImageError)
    good = [tuple(one.scores.values()) for one in found if isinstance(one, Prediction)]
    for one, other in zip(good, scores_of(predictor, [subjects[0], subjects[3]]), strict=True):
        assert one == pytest.approx(other, abs=1e-6)


def test_exclusive_scores_sum_to_1(open_way: Open, subjects: list[Subject]) -> None:
    for predictor in (open_way(exclusive=True), open_way(labels="caers")):
        for scores in scores_of(predictor, subjects):
            assert sum(scores) == pytest.approx(1, abs=1e-6)


def test_what_changes_a_score_changes_the_signature(open_way: Open) -> None:
    variants = [
        open_way(),
        open_way(labels=LABELS[::-1]),
        open_way(labels={label: f"feeling {label}" for label in LABELS}),
        open_way(exclusive=True),
        open_way(marking="crop"),
    ]
    assert len({predictor.model_digest for predictor in variants}) == len(variants)
    assert open_way().model_digest == variants[0].model_digest


def test_results_are_those_of_a_trained_predictor(open_way: Open, subjects: list[Subject]) -> None:
    predictor = open_way()
    path = subjects[0].images[0].path
    results = predictor(path, boxes=[(4, 4, 24, 40), (30, 8, 60, 44)])
    assert isinstance(results, mien.Results)
    for person, scores in zip(results, scores_of(predictor, subjects[:2]), strict=True):
        assert tuple(person.scores.values()) == pytest.approx(scores, abs=1e-6)
        assert person.status == "uncalibrated"
    missing = path.with_name("missing.png")
    streamed = list(predictor.stream([path, missing, Image.new("RGB", (30, 30))]))
    assert [one.status for one in streamed] == ["ok", "failed", "ok"]
    assert "uncalibrated" in results.plot().svg


def calibration_of(predictor: ZeroShotPredictor, model: str | None = None) -> Calibration:
    count = len(LABELS)
    return Calibration(
        method="temperature",
        split="val",
        n=50,
        label_set="own",
        labels=LABELS,
        exclusive=False,
        slopes=(2.0,) * count,
        offsets=(0.0,) * count,
        thresholds=(0.4,) * count,
        rule="f1",
        cost=1.0,
        defaulted=(),
        shared=(),
        model=model or predictor.model_digest,
    )


def test_calibrated_scores_say_so(open_way: Open, subjects: list[Subject]) -> None:
    plain = open_way()
    calibrated = open_way(calibration=calibration_of(plain))
    for before, after in zip(plain.predict(subjects[:1]), calibrated.predict(subjects[:1]), strict=True):
        assert after.status == "ok"
        assert after.thresholds == dict.fromkeys(LABELS, 0.4)
        # Twice the logit.
        for label, score in before.scores.items():
            odds = (score / (1 - score)) ** 2 if score < 1 else float("inf")
            expected = 1.0 if odds == float("inf") else odds / (1 + odds)
            assert after.scores[label] == pytest.approx(expected, abs=1e-6)
    with pytest.raises(RunError, match="another model, question or label definition"):
        open_way(calibration=calibration_of(plain, model="0" * 64))
    with pytest.raises(RunError, match="other labels"):
        open_way(labels=("calm", "afraid"), calibration=calibration_of(plain))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"method": "guess"}, UnknownNameError, "zero-shot method"),
        ({"answer": "maybe"}, UnknownNameError, "answer"),
        ({"labels": "emotik"}, UnknownNameError, "unknown label set"),
        ({"labels": []}, DataError, "no labels"),
        ({"labels": ["calm", "calm"]}, DataError, "twice"),
        ({"labels": ["calm", " "]}, DataError, "not all words"),
        ({"labels": "emotic", "exclusive": True}, DataError, "any number of labels"),
        ({"question": "How does the person feel?"}, ConfigError, "does not name the label"),
        ({"model": "playhouse"}, ConfigError, "exclude each other"),
        ({"method": "similarity"}, ConfigError, "exclude each other"),
        ({"method": "words", "prompt": "papers"}, UnknownNameError, "unknown prompt"),
    ],
)
def test_wrong_options_are_refused(
    options: dict[str, object], error: type[MienError], message: str, embedded: LocalEngine
) -> None:
    with pytest.raises(error, match=message):
        Predictor.zero_shot(engine=embedded, **options)  # type: ignore[arg-type]


def test_image_models_are_checked(tmp_path: Path) -> None:
    model = str(build_tiny_clip_pair(tmp_path / "clip"))
    with pytest.raises(ConfigError, match="does not name the label"):
        Predictor.zero_shot(model, LABELS, method="similarity", image_prompts=["a photo"])
    llava = str(embedded_model_folder("llava"))
    with pytest.raises(WeightsError, match="'llava', not one of clip, siglip"):
        Predictor.zero_shot(llava, LABELS, method="similarity")
