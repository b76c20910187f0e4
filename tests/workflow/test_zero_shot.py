"""Rows without training: evaluated as trained runs are, resumed after a kill, calibrated, and compared."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.factories.tiny_image_text import build_tiny_siglip_pair
from tests.factories.tiny_llava import build_tiny_llava
from tests.factories.tiny_runs import train_tiny_run

import mien
from mien.cli import main
from mien.data.playhouse import Playhouse
from mien.describe.fake import FakeEngine
from mien.errors import RunError
from mien.evaluate.calibration.calibrate import read_calibration
from mien.evaluate.results.results import EVALUATION, read_results
from mien.evaluate.scores import SplitScores, scores_file
from mien.predict.zero_shot import saved_scores
from mien.predict.zero_shot.similarity import SimilarityScorer
from mien.recipe import DataOptions
from mien.runs import append_event

# The data of `train_tiny_run`, so that its run can be compared.
DATA = {"train": 8, "val": 4, "test": 4, "seed": 3}
SETTINGS = [f"data.options.{key}={value}" for key, value in DATA.items()]
SETTINGS += ["evaluate.bootstrap=20", "run.threads=1"]
NOT_SCORED = "valence, arousal, dominance on test: not scored, similarity/"


@pytest.fixture(scope="module")
def siglip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_siglip_pair(tmp_path_factory.mktemp("model") / "siglip")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def command(name: str, siglip: Path, out: Path, *more: str) -> list[str]:
    arguments = [name, "playhouse", "--zero-shot", str(siglip), "--method", "similarity", "--out", str(out)]
    return [*arguments, *(part for setting in SETTINGS for part in ("--set", setting)), *more]


def test_people_are_scored_as_one_by_one_and_marked_uncalibrated(
    siglip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert main(command("evaluate", siglip, out, "--json")) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    name = "similarity/siglip"
    assert [(row["name"], row["metric"], row["n"]) for row in found["rows"]] == [(name, "mAP", 4)]
    assert found["rows"][0]["chance"] > 0
    assert found["uncalibrated"] == [name]
    assert found["dimensions"] == found["calibration"] == found["unscored"] == []
    assert any(note.startswith(NOT_SCORED) for note in found["notes"])
    assert read_results(out / EVALUATION).uncalibrated == (name,)

    predictor = mien.Predictor.zero_shot(str(siglip), "emotic", method="similarity", device="cpu")
    dataset = Playhouse(DataOptions(options=dict(DATA)), tmp_path / "drawn")
    samples = list(dataset.samples("test"))
    one_by_one = [list(predictor.predict([sample.subject])[0].scores.values()) for sample in samples]
    scores = SplitScores.load(scores_file(out, "test"))
    assert scores.ids == tuple(sample.subject.id for sample in samples)
    np.testing.assert_allclose(scores.scores, one_by_one, rtol=1e-5)

    assert main(["evaluate", str(out)]) == 0
    text = capsys.readouterr().out
    assert f"note: {name} is uncalibrated" in text
    assert "note: test was scored 2 times by this run, with 1 different model" in text


@pytest.mark.parametrize(("layout", "metric"), [("emotic", "mAP"), ("caers", "accuracy"), ("bold", "mRA")])
def test_each_dataset_has_its_metrics(
    layout: str, metric: str, siglip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write = importlib.import_module(f"mien.playhouse.layouts.{layout}").write
    write(tmp_path / "data", train=1, val=2, test=3, seed=1)
    is_bold = layout == "bold"
    root, split = tmp_path / "data" / ("BOLD_public" if is_bold else ""), "val" if is_bold else "test"
    arguments = ["evaluate", layout, "--root", str(root), "--zero-shot", str(siglip), "--split", split]
    arguments += ["--method", "similarity", "--out", str(tmp_path / "run"), "--json"]
    arguments += ["--set", "evaluate.bootstrap=20"]
    arguments += ["--set", "data.options.num_frames=3"] if is_bold else []
    assert main(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert metric in {row["metric"] for row in found["rows"]}
    assert {row["split"] for row in found["rows"]} == {split}
    assert any("not scored" in note for note in found["notes"]) == (layout != "caers")


def test_a_killed_evaluation_goes_on_and_scores_no_one_twice(
    siglip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One person per batch, so that a score does not depend on who is left.
    one = ("--set", "run.batch_size=1")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert main(command("evaluate", siglip, whole, *one)) == 0
    arguments = json.dumps(command("evaluate", siglip, killed, *one))
    ended = subprocess.run([sys.executable, "-m", __name__, arguments], check=False, timeout=120)
    assert ended.returncode == -signal.SIGKILL
    file = killed / "zero_shot_scores.jsonl"
    assert len(file.read_text().splitlines()) == 2
    assert not (killed / EVALUATION).exists()
    with file.open("a") as opened:
        opened.write('{"event": "scores", "key": "0a')  # as a crash leaves it

    scored: list[str] = []
    score = SimilarityScorer.score

    def count(self: SimilarityScorer, inputs: Any) -> Any:
        scored.extend(item.subject.id for item in inputs)
        return score(self, inputs)

    monkeypatch.setattr(SimilarityScorer, "score", count)
    assert main(command("evaluate", siglip, killed, *one)) == 0
    assert len(scored) == 2
    ours, theirs = (SplitScores.load(scores_file(run, "test")) for run in (killed, whole))
    assert ours.ids == theirs.ids
    np.testing.assert_array_equal(ours.scores, theirs.scores)
    assert read_results(killed / EVALUATION).rows == read_results(whole / EVALUATION).rows
    assert main(["evaluate", str(killed)]) == 0
    assert len(scored) == 2


def test_a_calibration_serves_the_evaluation_and_predictions(
    siglip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, photo = tmp_path / "run", tmp_path / "photo.png"
    assert main(command("calibrate", siglip, out)) == 0
    assert "method     platt" in capsys.readouterr().out
    calibration = read_calibration(out)
    assert calibration is not None
    assert (calibration.split, calibration.n, calibration.label_set) == ("val", 4, "emotic")
    assert main(["evaluate", str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["uncalibrated"] == []
    assert {row["fitted_on"] for row in found["calibration"]} == {"val"}
    assert not any("uncalibrated" in note for note in found["notes"])

    dataset = Playhouse(DataOptions(options=dict(DATA)), tmp_path / "drawn")
    subject = next(iter(dataset.samples("test"))).subject
    plain = mien.Predictor.zero_shot(str(siglip), "emotic", method="similarity", device="cpu")
    (raw,) = plain.predict([subject])
    expected = calibration.apply(np.array([list(raw.scores.values())]))[0]
    photo.write_bytes(subject.images[0].path.read_bytes())
    box = subject.boxes[0]
    assert box is not None
    arguments = ["predict", str(photo), "--box", ",".join(map(str, box.as_tuple())), "--json"]
    for place in (out, out / "calibration.json"):
        assert main([*arguments, "--calibration", str(place)]) == 0
        row = json.loads(capsys.readouterr().out)
        assert row["status"] == "ok"
        assert row["above"] is not None
        assert list(row["scores"].values()) == pytest.approx(list(expected), abs=1e-6)
    given = ["--zero-shot", str(siglip), "--method", "similarity"]
    assert main([*arguments, *given]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "uncalibrated"
    assert main([*arguments, *given, "--labels", "calm,afraid", "--calibration", str(out)]) == 4
    assert "the calibration has other labels" in capsys.readouterr().err
    with pytest.raises(RunError, match="another model, question or label definition"):
        mien.Predictor.zero_shot(
            str(siglip), method="similarity", image_prompts=["a {}"], device="cpu", calibration=out
        )


def test_the_embedded_clip_scores_datasets_and_photos(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = ["zero_shot.method=similarity", "describe.model=playhouse", *SETTINGS]
    arguments = ["evaluate", "playhouse", "--out", str(tmp_path / "run"), "--json"]
    assert main([*arguments, *(part for setting in recipe for part in ("--set", setting))]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(row["name"], row["n"]) for row in found["rows"]] == [("similarity/playhouse", 4)]
    assert found["unscored"] == []

    subject = next(
        iter(Playhouse(DataOptions(options=dict(DATA)), tmp_path / "drawn").samples("test"))
    ).subject
    box = subject.boxes[0]
    assert box is not None
    arguments = [
        "predict",
        str(subject.images[0].path),
        "--box",
        ",".join(map(str, box.as_tuple())),
        "--json",
    ]
    assert main([*arguments, "--zero-shot", "playhouse", "--method", "similarity"]) == 0
    printed = capsys.readouterr()
    assert "know only Playhouse" in printed.err
    scores = list(json.loads(printed.out)["scores"].values())
    saved = SplitScores.load(scores_file(tmp_path / "run", "test"))
    assert scores == pytest.approx(saved.scores[saved.ids.index(subject.id)].tolist(), abs=1e-5)


def test_where_one_label_holds_a_temperature_is_fitted(siglip: Path, tmp_path: Path) -> None:
    importlib.import_module("mien.playhouse.layouts.caers").write(
        tmp_path / "data", train=2, val=6, test=14, seed=1
    )
    data = {"name": "caers", "root": str(tmp_path / "data"), "options": {"protocol": "7:1:2"}}
    recipe = mien.Recipe.parse({"name": "caers", "data": data}, where="test")
    calibration = mien.calibrate(
        recipe, zero_shot=str(siglip), method="similarity", out=tmp_path / "run", cache=tmp_path
    )
    assert (calibration.method, calibration.thresholds) == ("temperature", None)
    evaluation = mien.evaluate(tmp_path / "run", cache=tmp_path)
    assert not evaluation.uncalibrated
    assert "accuracy" in {row.metric for row in evaluation.rows}


def test_words_are_read_from_the_store_of_descriptions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, out = tmp_path / "words.toml", tmp_path / "run"
    recipe.write_text(
        f"""name = "words"
data = {{ name = "playhouse", options = {{ {", ".join(f"{k} = {v}" for k, v in DATA.items())} }} }}
describe = {{ engine = "fake", options = {{ refuse = ["test/00001"] }} }}
zero_shot = {{ method = "words", encoder = "none" }}
evaluate = {{ bootstrap = 20 }}
"""
    )
    calls: list[str] = []
    describe = FakeEngine.describe

    def count(self: FakeEngine, requests: Any) -> Any:
        calls.extend(request.subject_id for request in requests)
        return describe(self, requests)

    monkeypatch.setattr(FakeEngine, "describe", count)
    assert main(["describe", str(recipe), "--out", str(out), "--split", "test"]) == 3
    num_calls = len(calls)
    capsys.readouterr()
    assert main(["evaluate", str(recipe), "--out", str(out), "--json"]) == 3
    assert len(calls) == num_calls
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert found["unscored"] == ["test/00001"]
    assert found["rows"][0]["n"] == 3
    assert found["rows"][0]["name"] == "words/fake"
    assert "1 people could not be scored" in printed.err
    samples = [json.loads(line) for line in (out / "samples-test.jsonl").read_text().splitlines()]
    assert all(sample["description"] for sample in samples)
    assert main(["train", str(recipe), "--out", str(out)]) == 2
    assert "scores without training" in capsys.readouterr().err


def test_likelihood_by_a_random_model_equals_its_predictions(tmp_path: Path) -> None:
    llava = build_tiny_llava(tmp_path / "llava")
    data = {"name": "playhouse", "options": {"train": 1, "val": 2, "test": 2}}
    recipe = mien.Recipe.parse({"name": "tiny", "data": data, "evaluate": {"bootstrap": 20}}, where="test")
    evaluation = mien.evaluate(recipe, zero_shot=str(llava), out=tmp_path / "run", cache=tmp_path)
    assert evaluation.rows[0].name.startswith("likelihood/")
    scores = SplitScores.load(scores_file(tmp_path / "run", "test"))
    samples = list(mien.load_dataset("playhouse", options=data["options"], cache=tmp_path).samples("test"))  # type: ignore[arg-type]
    predictor = mien.Predictor.zero_shot(str(llava), device="cpu", dtype="float32")
    found = predictor.predict(sample.subject for sample in samples)
    np.testing.assert_allclose(scores.scores, [list(one.scores.values()) for one in found], rtol=1e-5)


def test_runs_with_and_without_training_are_compared_and_reported(
    siglip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained, out = train_tiny_run(tmp_path), tmp_path / "zero"
    assert main(["evaluate", str(trained)]) == 0
    assert main(command("evaluate", siglip, out)) == 0
    capsys.readouterr()
    assert main(["compare", str(trained), str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    name = "playhouse-similarity-siglip"
    assert {row["name"] for row in found["rows"]} == {"tiny", name}
    assert [(item["a"], item["b"]) for item in found["differences"]] == [("tiny", name)]
    assert found["uncalibrated"] == [name]
    assert found["settings"][name]["zero_shot.method"] == "similarity"
    assert "model.fusion" not in {key for key, value in found["settings"][name].items() if value}

    assert main(["report", str(out)]) == 0
    page = (out / "report.html").read_text()
    assert "Scored without training by" in page
    assert "is uncalibrated" in page
    assert "Vision encoder" not in page

    refused = [
        (["evaluate", str(trained), "--zero-shot", str(siglip)], 2, "is a run, which has its model"),
        (["evaluate", str(trained), "--calibration", str(out)], 2, "is a trained run"),
        (["calibrate", str(trained)], 2, "is a trained run"),
        (["calibrate", str(out), "--split", "test"], 4, "would inflate all of its scores"),
        (["calibrate", str(out), "--fit", "isotonic"], 2, "platt"),
        (["evaluate", "playhouse"], 2, "does not say how to score without training"),
        (["evaluate", "playhouse", "--zero-shot", "x", "--method", "magic"], 2, "magic"),
        (["evaluate", str(out), "--calibration", str(trained)], 4, "does not fit"),
        (command("evaluate", siglip, trained), 4, "different recipe"),
        (["predict", "x.png", "--run", str(out)], 4, "scored without training"),
    ]
    for arguments, code, said in refused:
        assert main(arguments) == code, arguments
        assert said in capsys.readouterr().err, arguments


def test_a_person_who_cannot_be_read_is_left_out(
    siglip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], paint: Any
) -> None:
    rows = []
    for number in range(4):
        paint(f"{number}.png", color=(60 * number, 40, 20))
        labels = ["calm"] if number % 2 else ["afraid"]
        rows.append({"id": str(number), "image": f"{number}.png", "labels": labels, "split": "test"})
    (tmp_path / "2.png").write_bytes(b"no image")
    (tmp_path / "people.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    out = tmp_path / "run"
    arguments = ["evaluate", "manifest", "--root", str(tmp_path / "people.jsonl"), "--json"]
    arguments += ["--set", 'data.options.labels=["calm", "afraid"]', "--set", "evaluate.bootstrap=20"]
    arguments += ["--zero-shot", str(siglip), "--method", "similarity", "--out", str(out)]
    assert main(arguments) == 3
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert found["unscored"] == ["2"]
    assert any("1 of 4 samples of test could not be scored" in note for note in found["notes"])
    paint("2.png", color=(120, 40, 20))
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["unscored"] == []


def _kill_after(count: int) -> None:
    written = []

    def write(*arguments: Any, **fields: Any) -> None:
        append_event(*arguments, **fields)
        written.append(1)
        if len(written) == count:
            os.kill(os.getpid(), signal.SIGKILL)

    setattr(saved_scores, append_event.__name__, write)


if __name__ == "__main__":
    _kill_after(2)
    main(json.loads(sys.argv[1]))
