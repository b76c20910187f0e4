"""Predictions: what the trained run says, subject by subject, exactly as evaluation would say it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image
from tests.factories.engines import RecordingEngine
from tests.predict.conftest import Made

from mien.batches.builder import InputBuilder
from mien.describe.engine import Request
from mien.describe.fake import FakeEngine, FakeOptions
from mien.describe.generate import describe
from mien.describe.open import open_engine
from mien.describe.prompts import get_prompt
from mien.describe.requests import RequestBuilder
from mien.describe.store.lookup import lookup_descriptions
from mien.describe.store.store import Store
from mien.errors import BoxError, EngineError, ImageError, MienError, RunError, WeightsError
from mien.evaluate.scorer import score_split
from mien.labels import CAERS
from mien.media.images import LoadedImage, Marking, load_image_file
from mien.model.checkpoint import load_trained, save_trained
from mien.predict.detect.whole import WholeImage
from mien.predict.predictor import Predictor
from mien.recipe import RunOptions
from mien.types import Box, Description, Prediction, Subject

Make = Callable[..., Made]


def _subjects(made: Made, count: int = 8) -> list[Subject]:
    return [sample.subject for sample in made.samples["test"]][:count]


def _values(predictions: list[Prediction]) -> np.ndarray:
    return np.array([list(prediction.scores.values()) for prediction in predictions])


def test_a_prediction_says_everything(make_run: Make) -> None:
    made = make_run()
    subjects = _subjects(made, 4)
    predictions = Predictor.from_pretrained(made.run).predict(subjects)
    assert [prediction.subject_id for prediction in predictions] == [subject.id for subject in subjects]
    for prediction in predictions:
        assert prediction.label_set == "caers"
        assert tuple(prediction.scores) == CAERS.labels
        assert sum(prediction.scores.values()) == pytest.approx(1, abs=1e-5)
        assert prediction.dimensions is not None
        assert set(prediction.dimensions) == {"valence", "arousal", "dominance"}
        assert prediction.status == "ok"
        assert isinstance(prediction.description, Description)
        assert prediction.description.prompt_id == "paper"
    assert len({prediction.description.text for prediction in predictions if prediction.description}) > 1


def test_predicting_equals_evaluating(make_run: Make, tmp_path: Path) -> None:
    made = make_run()
    trained, options = load_trained(made.run), made.recipe.describe
    how: dict[str, Any] = {
        "prompt": get_prompt("paper"),
        "label_set": CAERS,
        "marking": Marking(style=options.marking),
    }
    engine = open_engine(options, made.recipe.run)
    with Store(tmp_path / "store.sqlite") as store:
        describe(_subjects(made), RequestBuilder(engine=engine, **how), store)
        texts = lookup_descriptions(_subjects(made), RequestBuilder(engine=engine, **how), store).descriptions
    data = InputBuilder.from_recipe(made.recipe, made.cache).build_split(
        "test", made.samples["test"], CAERS, descriptions=texts
    )
    scores = score_split(trained.classifier, data)
    predictions = Predictor.from_pretrained(made.run).predict(_subjects(made))
    np.testing.assert_allclose(_values(predictions), scores.scores, atol=1e-5)
    for prediction, subject in zip(predictions, _subjects(made), strict=True):
        assert prediction.description == texts[subject.id]


@pytest.mark.parametrize("fusion", ["qformer", "image_only", "text_only", "concat"])
def test_a_subject_gets_the_same_alone_and_among_others(make_run: Make, fusion: str) -> None:
    predictor = Predictor.from_pretrained(make_run(fusion, "fake").run)
    subjects = _subjects(make_run(fusion, "fake"), 5)
    together = predictor.predict(subjects)
    alone = [predictor.predict([subject])[0] for subject in subjects]
    np.testing.assert_allclose(_values(together), _values(alone), atol=1e-5)
    assert (together[0].description is None) is (fusion == "image_only")


def test_the_box_and_the_words_both_matter(make_run: Make) -> None:
    made = make_run("qformer", "fake")
    predictor = Predictor.from_pretrained(made.run)
    subject = _subjects(made, 1)[0]
    other_box = replace(subject, boxes=(Box(left=26, top=2, right=46, bottom=30),))
    boxed, moved = predictor.predict([subject, other_box])
    assert boxed.description != moved.description
    assert boxed.scores != moved.scores
    other_words = Predictor.from_pretrained(made.run, engine=FakeEngine(FakeOptions(num_words=3)))
    assert other_words.predict([subject])[0].scores != boxed.scores


def test_without_a_box_the_prompt_does_not_speak_of_one(make_run: Make) -> None:
    made = make_run("qformer", "fake")
    subject = replace(_subjects(made, 1)[0], boxes=(None,))
    (prediction,) = Predictor.from_pretrained(made.run).predict([subject])
    assert prediction.description is not None
    assert prediction.description.prompt_id == "paper_no_box"


def test_one_bad_subject_does_not_cost_the_others(make_run: Make, tmp_path: Path) -> None:
    made = make_run("qformer", "fake")
    good = _subjects(made, 3)
    (tmp_path / "broken.png").write_bytes(b"no image")
    Image.new("RGB", (20, 20)).save(tmp_path / "small.png")
    refused = replace(good[2], id="refused")
    outside = Subject.still("outside", tmp_path / "small.png", Box(left=50, top=50, right=60, bottom=60))
    subjects = [
        good[0],
        Subject.still("broken", tmp_path / "broken.png"),
        outside,
        refused,
        good[1],
        Subject.still("missing", tmp_path / "missing.png"),
        good[2],
    ]
    engine = FakeEngine(FakeOptions(refuse=("refused",)))
    predictor = Predictor.from_pretrained(made.run, engine=engine)
    results = list(predictor.each(subjects))
    kinds = [Prediction, ImageError, BoxError, EngineError, Prediction, ImageError, Prediction]
    assert [type(result) for result in results] == kinds
    ids = [result.subject_id for result in results if isinstance(result, Prediction)]
    assert ids == [subject.id for subject in good]
    np.testing.assert_allclose(
        _values([result for result in results if isinstance(result, Prediction)]),
        _values(predictor.predict(good)),
        atol=1e-5,
    )
    with pytest.raises(ImageError, match=r"broken\.png"):
        predictor.predict(subjects)


def test_a_batch_of_bad_subjects_only(make_run: Make, tmp_path: Path) -> None:
    predictor = Predictor.from_pretrained(make_run("qformer", "fake").run)
    missing = [Subject.still(str(index), tmp_path / f"{index}.png") for index in range(4)]
    assert all(isinstance(result, MienError) for result in predictor.each(missing))
    assert predictor.predict([]) == []


def test_subjects_are_taken_as_they_are_needed(make_run: Make) -> None:
    made = make_run("image_only", "fake")
    taken = 0

    def endless() -> object:
        nonlocal taken
        while True:
            taken += 1
            yield replace(_subjects(made, 1)[0], id=f"s{taken}")

    results = Predictor.from_pretrained(made.run).each(endless())  # type: ignore[arg-type]
    assert [next(results).subject_id for _ in range(4)] == ["s1", "s2", "s3", "s4"]  # type: ignore[union-attr]
    assert taken == 2 * made.recipe.run.fixed_batch_size


class _ChoosingEngine(RecordingEngine):
    """Asks for batches that grow."""

    def best_batch_size(self, request: Request) -> int | None:
        return 1 + len(self.calls)


@pytest.mark.parametrize(
    ("in_recipe", "given", "expected"),
    [("auto", None, [1, 2, 3, 1]), ("auto", 4, [4, 3]), (5, None, [5, 2]), (5, 3, [3, 3, 1])],
)
def test_the_engine_chooses_the_batch_size_unless_one_is_given(
    make_run: Make, in_recipe: int | Literal["auto"], given: int | None, expected: list[int]
) -> None:
    made, engine = make_run("qformer", "fake"), _ChoosingEngine(FakeEngine())
    predictor = Predictor.from_pretrained(made.run, engine=engine)
    run = RunOptions(batch_size=in_recipe)
    predictor._recipe = predictor._recipe.model_copy(update={"run": run})
    results = list(predictor.each(_subjects(made, 7), batch_size=given))
    assert [len(call) for call in engine.calls] == expected
    assert all(isinstance(result, Prediction) for result in results)


def test_a_detector_is_named_or_given_when_a_predictor_is_opened(make_run: Make) -> None:
    run = make_run("image_only", "fake").run
    assert Predictor.from_pretrained(run).detector is None
    named = Predictor.from_pretrained(run, detector="whole").detector
    assert isinstance(named, WholeImage)
    for predictor in (
        Predictor.from_pretrained(run, detector=named),
        Predictor.zero_shot("playhouse", ["calm", "afraid"], detector=named),
    ):
        assert predictor.detector is named


def test_an_encoder_that_changed_since_is_refused(make_run: Make, tmp_path: Path) -> None:
    made = make_run("qformer", "fake")
    trained = load_trained(made.run)
    predictor = Predictor.from_pretrained(made.run)
    changed = "0" * 64
    for other in (
        replace(trained, vision_signature=changed),
        replace(trained, tokenizer_signature=changed),
    ):
        with pytest.raises(RunError, match="not the one that the run was trained with"):
            Predictor(
                other,
                engine=FakeEngine(),
                tokenizer=predictor.text_stage.tokenizer if predictor.text_stage else None,
                vision=predictor.vision,
            )


def test_a_folder_without_a_model_and_weights_that_are_gone(make_run: Make, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no trained model"):
        Predictor.from_pretrained(tmp_path)
    made = make_run("image_only", "fake")
    trained = load_trained(made.run)
    gone = trained.recipe.features.model_copy(update={"vision": str(tmp_path / "gone")})
    save_trained(tmp_path, replace(trained, recipe=trained.recipe.model_copy(update={"features": gone})))
    with pytest.raises(WeightsError, match="gone"):
        Predictor.from_pretrained(tmp_path)
    with pytest.raises(EngineError, match="device"):
        Predictor.from_pretrained(made.run, device="no such device")


def test_a_photo_is_opened_once_for_both_stages_and_all_people(
    make_run: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    boxes = [Box(left=20 * n + 1, top=10, right=20 * n + 90, bottom=300) for n in range(4)]
    sources: list[object] = []
    for name in ("a.jpg", "b.png"):
        Image.fromarray(noise).resize((640, 480)).save(tmp_path / name)
        sources.append((tmp_path / name, boxes))
    run = make_run().run
    read: list[tuple[str, int]] = []

    def counted(path: Path, **options: Any) -> LoadedImage:
        loaded = load_image_file(path, **options)
        read.append((path.name, loaded.scale))
        return loaded

    monkeypatch.setattr("mien.media.views.load_image_file", counted)
    predictor = Predictor.from_pretrained(run)
    together = [person for results in predictor.stream(sources, batch_size=3) for person in results]
    assert read == [("a.jpg", 4), ("b.png", 1)]
    alone = [predictor(tmp_path / name, boxes=[box])[0] for name in ("a.jpg", "b.png") for box in boxes]
    for first, second in zip(together, alone, strict=True):
        assert list(first.scores.values()) == pytest.approx(list(second.scores.values()), abs=1e-5)
        assert first.description is not None
        assert second.description is not None
        assert first.description.text == second.description.text


def test_who_cannot_be_described_is_judged_by_the_image_alone_if_the_run_says_so(
    make_run: Make, tmp_path: Path
) -> None:
    made = make_run(engine="fake")
    subjects = _subjects(made, 4)
    silent = FakeEngine(FakeOptions(poison=(subjects[1].id,)))
    trained = load_trained(made.run)
    train = trained.recipe.train.model_copy(update={"missing_descriptions": "image_only"})
    lenient = tmp_path / "lenient"
    lenient.mkdir()
    save_trained(lenient, replace(trained, recipe=trained.recipe.model_copy(update={"train": train})))
    strict = list(Predictor.from_pretrained(made.run, engine=silent).each(subjects))
    assert [isinstance(item, EngineError) for item in strict] == [False, True, False, False]
    found = Predictor.from_pretrained(lenient, engine=silent).predict(subjects)
    assert [item.status for item in found] == ["ok", "no description", "ok", "ok"]
    assert found[1].description is None
    others = [item for item in strict if isinstance(item, Prediction)]
    assert np.allclose(_values([found[0], *found[2:]]), _values(others), atol=1e-6)


def test_a_box_that_reaches_beyond_the_image_is_used_up_to_its_edge(make_run: Make) -> None:
    made = make_run()
    path = _subjects(made, 1)[0].images[0].path
    with Image.open(path) as image:
        width, height = image.size
    beyond, inside, other = (5, -40, width + 9, height + 900), (5, 0, width, height), (5, 0, 20, 20)
    results = Predictor.from_pretrained(made.run)(path, boxes=[beyond, inside, other])
    assert results[0].box is not None
    assert results[0].box.as_tuple() == beyond
    assert results[0].scores == pytest.approx(results[1].scores, abs=1e-6)
    assert results[0].scores != pytest.approx(results[2].scores, abs=1e-6)
