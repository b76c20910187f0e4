"""Ablations: grid files, checks before anything is written, shared results, and a small grid as a command."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mien.ablation.grid import Grid, load_grid
from mien.ablation.jobs import build_jobs, open_in_worker, train_and_score
from mien.ablation.prepare import check_variants, describe_missing, encode_missing, open_variants
from mien.ablation.study import ablate
from mien.cli import main
from mien.errors import ConfigError, DataError, MienError, UnknownNameError, WeightsError
from mien.evaluate.results.comparison import compare_runs
from mien.evaluate.results.learning_curve import learning_curves
from mien.evaluate.results.results import ResultRow, read_results
from mien.evaluate.results.split_accesses import read_split_accesses
from mien.evaluate.scores import SplitScores, scores_file
from mien.model.checkpoint import load_trained
from mien.recipe.places import recorded_recipe
from mien.train.loop import open_run

ROOT = Path(__file__).parent.parent.parent
# Grids of the embedded models; the others need downloaded weights.
GRIDS = sorted(
    path for path in (ROOT / "recipes" / "ablations").glob("*.toml") if "playhouse.toml" in path.read_text()
)
BASE = """name = "tiny"
[data]
name = "playhouse"
options = { train = 16, val = 8, test = 10, seed = 3 }
[describe]
engine = "fake"
model = "none"
[model]
width = 16
heads = 2
num_queries = 2
[train]
epochs = 1
batch_size = 8
[evaluate]
bootstrap = 50
"""
MODALITY = """name = "modality"
base = "tiny.toml"
seeds = [0]
reference = "fused"
[variants.fused]
[variants.image]
set = ["model.fusion=image_only"]
"""
SMALL = ("data.options={ train = 10, val = 6, test = 6 }", "describe.engine=fake", "run.threads=1")

WriteGrid = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WriteGrid:
    """Write a grid file next to its base recipe."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "tiny.toml").write_text(BASE)

    def grid(text: str) -> Path:
        (tmp_path / "grid.toml").write_text(text)
        return tmp_path / "grid.toml"

    return grid


# --- Grids ---


def test_overrides_apply_before_those_of_a_variant(write: WriteGrid) -> None:
    grid = load_grid(write(MODALITY), overrides=["model.fusion=concat", "train.lr=0.01"], seeds=[4, 5])
    assert (grid.name, grid.seeds) == ("tiny-modality", (4, 5))
    image = grid.recipe(grid.variant("image"), 5)
    assert (image.name, image.model.fusion, image.train.lr, image.train.seed) == (
        "image", "image_only", 0.01, 5,
    )  # fmt: skip
    assert grid.recipe(grid.reference_variant).model.fusion == "concat"
    with pytest.raises(UnknownNameError, match="imago"):
        grid.variant("imago")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('reference = "fused"', 'reference = "fusd"', "the reference 'fusd' is not among the variants"),
        ("[variants.image]", '[variants."../image"]', "variants"),
        ("seeds = [0]", "seeds = [1, 1]", "not distinct"),
        ("set = [", 'texts = "reversed"\nset = [', "variants.image.texts"),
        ("set = [", 'scored_texts = "empty"\nset = [', "variants.image.scored_texts"),
        ("set = [", "train_share = 0.0\nset = [", "variants.image.train_share"),
        ("set = [", "sets = [", "unknown key 'variants.image.sets'"),
        ("seeds = [0]", "train_sizes = [0, 8]", "train_sizes.0 = 0 is not valid"),
        ("seeds = [0]", "train_sizes = [0.5]", "train_sizes.0 = 0.5 is not valid"),
        ("seeds = [0]", "train_sizes = [8, 8]", "train_sizes = [8, 8] is not valid"),
        ("seeds = [0]", "train_sizes = [8, 4]", "once, in ascending order"),
    ],
)
def test_an_invalid_grid_names_the_key(write: WriteGrid, old: str, new: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_grid(write(MODALITY.replace(old, new)))
    assert message in f"{caught.value} {caught.value.hint}"


def test_sizes_and_shares_exclude_each_other(write: WriteGrid) -> None:
    sized = MODALITY.replace("seeds = [0]", "train_sizes = [4, 8]")
    with pytest.raises(ConfigError) as caught:
        load_grid(write(sized.replace("set = [", "train_share = 0.5\nset = [")))
    assert "train_sizes and the train_share of variant 'image'" in f"{caught.value} {caught.value.hint}"
    assert load_grid(write(sized.replace("set = [", "train_share = 1.0\nset = ["))).train_sizes == (4, 8)


def test_changes_to_the_base_do_not_reach_another_base(write: WriteGrid, tmp_path: Path) -> None:
    path = write(MODALITY.replace("seeds = [0]", 'base_set = ["train.lr=0.5"]'))
    (tmp_path / "other.toml").write_text(BASE.replace("tiny", "other"))
    assert load_grid(path).reference_recipe.train.lr == 0.5
    assert load_grid(path, overrides=["train.lr=0.25"]).reference_recipe.train.lr == 0.25
    other = load_grid(path, base=tmp_path / "other.toml")
    assert (other.name, other.reference_recipe.train.lr) == ("other-modality", 5e-4)


@pytest.mark.parametrize("path", GRIDS, ids=lambda path: path.stem)
def test_every_grid_of_embedded_models_passes_the_checks(path: Path, tmp_path: Path) -> None:
    grid = load_grid(path, overrides=SMALL)
    check_variants(open_variants(_jobs(grid, tmp_path)), metrics=["mAP"])


# --- Checks before anything is written ---


def _jobs(grid: Grid, folder: Path) -> list[Any]:
    jobs = build_jobs(grid, out=folder / "out", cache=folder / "cache", split="test")
    return [job for job in jobs if job.seed == grid.seeds[0]]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ('describe.engine=local", "describe.model=/no/such/vlm', WeightsError, "no model at /no/such/vlm"),
        ("features.vision=/no/such/encoder", WeightsError, "encoder"),
        ("features.tokenizer=/no/such/words", WeightsError, "words"),
        ("model.init=/no/such/start", WeightsError, "start"),
        ("model.options={ pooling = 'best' }", ConfigError, "pooling"),
        ("train.loss=cross_entropy", ConfigError, "needs exactly one label"),
        ("describe.prompt=papr", MienError, "papr"),
        ("train.select_on=holdout", DataError, "holdout"),
        ("data.options={ train = 16, val = 8, test = 9, seed = 3 }", DataError, "other subjects of 'test'"),
    ],
)
def test_a_variant_that_cannot_run_is_named_before_anything_is_written(
    write: WriteGrid, tmp_path: Path, change: str, error: type[MienError], message: str
) -> None:
    grid = load_grid(write(MODALITY + f'[variants.faulty]\nset = ["{change}"]\n'))
    with pytest.raises(error, match="variant faulty: ") as caught:
        ablate(grid, tmp_path / "out", cache=tmp_path / "cache")
    assert message in f"{caught.value} {caught.value.hint}"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("model.fusion=concat", "train.missing_descriptions is 'error' set train.missing_descriptions to"),
        ("model.fusion=image_only", "fusion 'image_only' does not read remove scored_texts"),
    ],
)
def test_descriptions_can_only_be_removed_from_a_model_that_reads_them_and_may_lack_them(
    write: WriteGrid, tmp_path: Path, change: str, message: str
) -> None:
    faulty = f'[variants.faulty]\nset = ["{change}"]\nscored_texts = "missing"\n'
    grid = load_grid(write(MODALITY + faulty))
    with pytest.raises(ConfigError, match="variant faulty: scored_texts 'missing' removes") as caught:
        ablate(grid, tmp_path / "out", cache=tmp_path / "cache")
    assert message in f"{caught.value} {caught.value.hint}"
    assert not (tmp_path / "out").exists()


def test_sizes_beyond_the_data_are_refused_with_the_number_of_images(
    write: WriteGrid, tmp_path: Path
) -> None:
    grid = load_grid(write(MODALITY.replace("seeds = [0]", "train_sizes = [8, 17]")))
    with pytest.raises(ConfigError, match="train_sizes asks for 17 images, and split 'train' has 16"):
        ablate(grid, tmp_path / "out", cache=tmp_path / "cache")
    assert not (tmp_path / "out").exists()


def test_a_variant_with_an_unknown_key_is_named(write: WriteGrid, tmp_path: Path) -> None:
    grid = load_grid(write(MODALITY.replace("model.fusion", "model.fuson")))
    with pytest.raises(ConfigError, match=r"variant image: unknown key 'model\.fuson'"):
        ablate(grid, tmp_path / "out", cache=tmp_path / "cache")


# --- Shared results ---


def test_variants_with_equal_settings_share_results(write: WriteGrid, tmp_path: Path) -> None:
    more = '[variants.unmarked]\nset = ["features.marking=none"]\n[variants.half]\ntrain_share = 0.5\n'
    variants = open_variants(_jobs(load_grid(write(MODALITY + more)), tmp_path))
    notes: list[str] = []
    found = describe_missing(variants, note=notes.append, on_progress=None)
    assert (found.reused, found.total) == (68, 102)  # three variants read the same descriptions
    features = encode_missing(variants, note=notes.append)
    assert (features.reused, features.total) == (68, 136)  # two of four variants need features of their own
    assert notes == ["describing: fused", "encoding the images: fused", "encoding the images: unmarked"]
    again = describe_missing(variants, note=notes.append, on_progress=None)
    assert (again.reused, again.total) == (102, 102)


def test_a_dataset_is_read_once_for_all_variants_and_for_all_jobs_of_a_worker(
    write: WriteGrid, tmp_path: Path
) -> None:
    text = MODALITY.replace("seeds = [0]", "seeds = [0]\ntrain_sizes = [4, 8]")
    jobs = _jobs(load_grid(write(text)), tmp_path)
    first, *others = [variant.experiment.samples("train") for variant in open_variants(jobs)]
    assert all(one is other for samples in others for one, other in zip(first, samples, strict=True))
    few, more = (open_in_worker(job).samples("train") for job in jobs[:2])
    assert {id(one) for one in few} < {id(one) for one in more}
    # Other data are read, also by the same process.
    other = _jobs(load_grid(write(text), overrides=["data.options.seed=4"]), tmp_path)
    (found, *_) = open_in_worker(other[0]).samples("train")
    assert found.subject.images[0].path.parent != few[0].subject.images[0].path.parent


def test_only_the_same_variant_counts_as_finished(write: WriteGrid, tmp_path: Path) -> None:
    (job, _) = _jobs(load_grid(write(MODALITY)), tmp_path)
    open_run(job.open().resolved_recipe, job.run)
    for name in ("model.safetensors", "scores-test.npz"):
        (job.run / name).touch()
    assert not job.is_finished
    job.mark_finished()
    assert job.is_finished
    for control in ('texts = "empty"', 'scored_texts = "missing"', "train_share = 0.5"):
        (changed, _) = _jobs(load_grid(write(MODALITY.replace("d]\n[", f"d]\n{control}\n["))), tmp_path)
        assert changed.run == job.run
        assert not changed.is_finished
    (job.run / "scores-test.npz").unlink()
    assert not job.is_finished


def test_runs_of_other_sizes_are_other_runs_and_leave_those_without_a_size(
    write: WriteGrid, tmp_path: Path
) -> None:
    (whole, _) = _jobs(load_grid(write(MODALITY)), tmp_path)
    sized = MODALITY.replace("seeds = [0]", "seeds = [0]\ntrain_sizes = [4, 8]")
    jobs = _jobs(load_grid(write(sized)), tmp_path)
    assert [str(job.run.relative_to(tmp_path / "out")) for job in jobs] == [
        "fused/train-4/seed-0", "fused/train-8/seed-0", "image/train-4/seed-0", "image/train-8/seed-0",
    ]  # fmt: skip
    assert whole.run == tmp_path / "out/fused/seed-0"
    assert whole.recipe.digest() == load_grid(write(MODALITY)).recipe(whole.variant, 0).digest()
    few, more = ({one.subject.id for one in job.open().samples("train")} for job in jobs[:2])
    assert (len(few), len(more), few < more) == (4, 8, True)
    for split in ("val", "test"):
        ids = [[one.subject.id for one in job.open().samples(split)] for job in (whole, *jobs)]
        assert all(one == ids[0] for one in ids)


# --- Whole ablations ---


def test_a_small_grid_runs_as_a_command_and_reuses_everything_the_second_time(
    write: WriteGrid, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = write(MODALITY + '[variants.few]\ntexts = "shuffled"\ntrain_share = 0.5\n')
    arguments = ["ablate", str(grid), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--json"]) == 0, capsys.readouterr().err
    document = json.loads(capsys.readouterr().out)
    rows = {row["name"]: row for row in document["rows"] if row["metric"] == "mAP"}
    assert set(rows) == {"fused", "image", "few"}
    assert len({row["value"] for row in rows.values()}) == 3
    for row in rows.values():
        assert row["low"] <= row["value"] <= row["high"]
        assert (row["split"], row["n"], row["seeds"]) == ("test", 10, [0])
    differences = {item["b"]: item for item in document["differences"]}
    assert set(differences) == {"image", "few"}
    assert differences["image"]["value"] == pytest.approx(rows["fused"]["value"] - rows["image"]["value"])
    assert document["reused"] == {
        "descriptions": {"n": 34, "of": 68},
        "features": {"n": 68, "of": 102},
        "runs": {"n": 0, "of": 3},
    }
    # Every variant has a row per label; the reference comes first, because the page shows it.
    named = [row["name"] for row in document["labels"]]
    assert list(dict.fromkeys(named)) == ["fused", "image", "few"]
    assert named.count("fused") == named.count("image") == named.count("few")
    kept = json.loads((tmp_path / "out" / "results.json").read_text())
    assert (kept["rows"], kept["differences"]) == (document["rows"], document["differences"])
    page = Path(document["report"]).read_text()
    assert re.search(r"of each label\s+by <span class=\"user\">fused</span>", page)
    assert page.count('aria-label="AP ') == named.count("fused")

    # Again: nothing is described, encoded, trained or scored, and the numbers are the same.
    models = {file: file.stat().st_mtime_ns for file in (tmp_path / "out").rglob("model.safetensors")}
    assert len(models) == 3
    assert main(arguments) == 0
    shown = capsys.readouterr()
    assert "reused: 68 of 68 descriptions, 102 of 102 features, 3 of 3 runs" in shown.out
    assert "training" not in shown.err
    assert re.search(rf"image +{rows['image']['value']:.3f}", shown.out)
    assert "fused minus it, paired" in shown.out
    assert models == {file: file.stat().st_mtime_ns for file in models}
    accesses = [
        line
        for line in (tmp_path / "out/few/seed-0/events.jsonl").read_text().splitlines()
        if '"test"' in line
    ]
    assert len(accesses) == 1

    # A changed reference belongs to another ablation.
    assert main([*arguments, "--set", "train.lr=0.5"]) == 4
    assert "--out" in capsys.readouterr().err


def test_a_learning_curve_resumes_and_has_every_size_with_its_differences(
    write: WriteGrid,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mien.ablation.study._NUM_WORKERS", 1)  # each takes seconds to start
    grid = write(MODALITY.replace("seeds = [0]", "seeds = [0]\ntrain_sizes = [6, 16]"))
    out = tmp_path / "out"
    arguments = ["ablate", str(grid), "--out", str(out)]
    assert main([*arguments, "--json"]) == 0, capsys.readouterr().err
    document = json.loads(capsys.readouterr().out)
    rows = [row for row in document["rows"] if row["metric"] == "mAP"]
    assert [(row["train_size"], row["name"]) for row in rows] == [
        (6, "fused"), (6, "image"), (16, "fused"), (16, "image"),
    ]  # fmt: skip
    assert len({row["value"] for row in rows}) >= 3  # two of so few people may be equal
    assert len({row["chance"] for row in rows}) == 1  # all are scored on the same samples
    differences = {item["train_size"]: item for item in document["differences"]}
    assert differences[6]["value"] == pytest.approx(rows[0]["value"] - rows[1]["value"])
    assert differences[16]["value"] == pytest.approx(rows[2]["value"] - rows[3]["value"])
    assert {row["train_size"] for row in document["labels"]} == {6, 16}
    # All sizes share the descriptions and the features of all images.
    assert document["reused"]["descriptions"] == {"n": 0, "of": 34}
    assert document["reused"]["features"] == {"n": 34, "of": 68}
    assert document["reused"]["runs"] == {"n": 0, "of": 4}
    kept = read_results(out / "results.json")
    assert kept.rows == tuple(ResultRow(**{**row, "seeds": (0,)}) for row in document["rows"])
    assert Path(document["curve"]) == out / "curve.svg"
    (mae,) = [curve for curve in learning_curves(kept) if curve.metric == "vad_mae"]
    assert (mae.models, mae.pairs) == (("fused", "image"), ())

    # Only what is unfinished, as after a kill, is trained again.
    jobs = build_jobs(load_grid(grid), out=out, cache=tmp_path / "cache", split="test")
    (out / "image/train-6/seed-0/variant.json").unlink()
    (lost,) = [job for job in jobs if not job.is_finished]
    assert str(lost) == "image, 6 images, seed 0"
    lost.mark_finished()
    assert main(arguments) == 0
    shown = capsys.readouterr()
    assert "reused: 34 of 34 descriptions, 68 of 68 features, 4 of 4 runs" in shown.out
    assert shown.out.rstrip().endswith(f"figure: {out / 'curve.svg'}")
    again = read_results(out / "results.json")
    assert (again.rows, again.differences) == (kept.rows, kept.differences)
    line = next(line for line in shown.out.splitlines() if re.match(r" +16 +0\.", line))
    first, second, chance, *interval = line.split()[1:]
    assert first == f"{rows[2]['value']:.3f}"
    assert (second, chance) == (f"{rows[3]['value']:.3f}", f"{rows[3]['chance']:.3f}")
    assert " ".join(interval) == f"{differences[16]['low']:+.3f} to {differences[16]['high']:+.3f}"

    # A moved ablation keeps its runs: their store lies two folders above.
    moved = out.rename(tmp_path / "moved")
    assert recorded_recipe(moved / "fused/train-6/seed-0").run.store == moved / "descriptions.sqlite"
    comparison = compare_runs([moved / "fused/train-6/seed-0", moved / "fused/train-16/seed-0"])
    assert [row.name for row in comparison.results.rows[::2]] == ["fused-6", "fused-16"]


def test_a_model_trained_with_descriptions_is_scored_without_them(write: WriteGrid, tmp_path: Path) -> None:
    text = MODALITY.replace("image_only", "text_only").replace("seeds", 'metric = "mAP_tail"\nseeds')
    lacking = 'set = ["model.fusion={}"]\nscored_texts = "missing"\n'
    grid = load_grid(
        write(f"{text}[variants.a]\n{lacking.format('qformer')}[variants.b]\n{lacking.format('text_only')}"),
        overrides=["train.missing_descriptions=image_only"],
    )
    found = ablate(grid, tmp_path / "out", cache=tmp_path / "cache")
    scores = {
        name: SplitScores.load(scores_file(tmp_path / "out" / name / "seed-0", "test")).scores
        for name in ("fused", "image", "a", "b")
    }
    # With the descriptions alone scores differ between subjects; without them they do not.
    assert np.ptp(scores["image"], axis=0).max() > 1e-4
    assert np.ptp(scores["b"], axis=0).max() < 1e-6
    # The weights are those trained with descriptions; the scores differ, and still depend on the image.
    weights = [
        load_trained(tmp_path / "out" / name / "seed-0", "cpu").classifier.state_dict()
        for name in ("fused", "a")
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert np.abs(scores["fused"] - scores["a"]).max() > 1e-4
    assert np.ptp(scores["a"], axis=0).max() > 1e-4
    accesses = read_split_accesses(tmp_path / "out/a/seed-0")
    assert [(access.split, access.times) for access in accesses] == [("test", 1)]
    # The metric of the comparison is shown in addition to the recipe's.
    assert {row.metric for row in found.results.differences} == {"mAP_tail"}
    rows = [row for row in found.results.rows if row.name == "a"]
    assert [row.metric for row in rows] == ["mAP", "vad_mae", "mAP_tail"]
    assert rows[2].labels == -(-(rows[0].labels or 0) // 3)


# --- Without training ---

ZERO_SHOT = """name = "rows"
base = "tiny.toml"
seeds = [0, 1]
reference = "image"
set = ["train.epochs=1"]
[variants.image]
set = ["model.fusion=image_only"]
[variants.words]
set = ["zero_shot.method=words", "zero_shot.encoder=none"]
"""


def test_a_variant_without_training_is_a_row(write: WriteGrid, tmp_path: Path) -> None:
    grid = load_grid(write(ZERO_SHOT), overrides=SMALL)
    out, places = tmp_path / "out", {"cache": tmp_path / "cache", "out": tmp_path / "out"}
    jobs = build_jobs(grid, **places, split="test")
    assert [str(job) for job in jobs] == ["image, seed 0", "image, seed 1", "words, seed 0"]
    for job in jobs:  # here, so that no worker has to start
        train_and_score(job)
    ablation = ablate(grid, out, cache=tmp_path / "cache")
    assert (ablation.reused["runs"].reused, ablation.reused["runs"].total) == (3, 3)
    assert ablation.reused["descriptions"].total == 6  # those of test alone
    assert {row.name: row.seeds for row in ablation.results.rows} == {"image": (0, 1), "words": (0,)}
    assert [(item.a, item.b) for item in ablation.results.differences] == [("image", "words")]
    assert ablation.results.uncalibrated == ("words",)
    assert not (jobs[2].run / "model.safetensors").exists()

    smaller = load_grid(write(f"{ZERO_SHOT}train_share = 0.5\n"), overrides=SMALL)
    with pytest.raises(ConfigError, match="variant words: it scores without training"):
        ablate(smaller, tmp_path / "other", cache=tmp_path / "cache")
