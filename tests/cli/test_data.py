"""`mien data` and `mien doctor`: JSON documents, exit codes, files."""

import json
from pathlib import Path
from typing import Any

import pytest

from mien.cli import main

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def isolated_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def emotic(tmp_path: Path, capsys: Capture) -> Path:
    root = tmp_path / "emotic"
    sizes = ("--train", "4", "--val", "2", "--test", "3")
    assert main(["data", "playhouse", "emotic", "--out", str(root), *sizes]) == 0
    capsys.readouterr()
    return root


def run(capsys: Capture, *arguments: object, code: int = 0) -> Any:
    """The document that a command prints, and nothing else, to stdout."""
    assert main([str(argument) for argument in (*arguments, "--json")]) == code
    return json.loads(capsys.readouterr().out)


def test_the_document_of_summary_is_stable(emotic: Path, capsys: Capture) -> None:
    document = run(capsys, "data", "summary", "emotic", "--root", emotic)
    assert list(document)[:4] == ["schema", "dataset", "splits", "problems"]
    assert (document["schema"], document["dataset"], document["problems"]) == (1, "emotic", {})
    assert set(document["splits"]) == {"train", "val", "test"}
    for split in document["splits"].values():
        assert list(split) == ["images", "subjects", "labels_per_subject", "chance_map", "with_dimensions"]
        assert 0 < split["images"] <= split["subjects"] == split["with_dimensions"]
        assert 0 < split["chance_map"] <= 1 <= split["labels_per_subject"]


def test_export_writes_stable_rows(emotic: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "val.jsonl"
    count = run(capsys, "data", "summary", "emotic", "--root", emotic)["splits"]["val"]["subjects"]
    run(capsys, "data", "export", "emotic", "--root", emotic, "--split", "val", "--out", out)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(rows) == count
    for row in rows:
        assert list(row) == ["id", "images", "frames", "boxes", "labels", "dimensions", "split", "size"]
        assert all(Path(image).is_file() for image in row["images"])
        assert (row["frames"], row["split"]) == ([None], "val")
        ((left, top, right, bottom),) = row["boxes"]
        assert left < right
        assert top < bottom
        assert set(row["dimensions"]) == {"valence", "arousal", "dominance"}
    first = out.read_bytes()
    run(capsys, "data", "export", "emotic", "--root", emotic, "--split", "val", "--out", out)
    assert out.read_bytes() == first


def test_verify_exits_with_0_if_clean_and_lists_every_problem_otherwise(
    emotic: Path, capsys: Capture
) -> None:
    document = run(capsys, "data", "verify", "emotic", "--root", emotic)
    assert document["problems"] == []
    assert Path(document["report"]).is_file()
    victim = sorted((emotic / "emotic").rglob("*.jpg"))[0]
    victim.write_bytes(victim.read_bytes()[:300])
    (problem,) = run(capsys, "data", "verify", "emotic", "--root", emotic, code=4)["problems"]
    assert list(problem) == ["kind", "file", "message"]
    assert (problem["kind"], problem["file"]) == ("truncated", str(victim))


def test_verify_also_lists_a_problem_that_stops_it(emotic: Path, capsys: Capture) -> None:
    mat = emotic / "Annotations" / "Annotations.mat"
    mat.write_bytes(mat.read_bytes()[:2000])
    (problem,) = run(capsys, "data", "verify", "emotic", "--root", emotic, code=4)["problems"]
    assert problem["kind"] == "unreadable"
    assert str(mat) in problem["message"]


def test_a_recipe_can_name_the_dataset(emotic: Path, tmp_path: Path, capsys: Capture) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text(f'name = "mine"\n[data]\nname = "emotic"\nroot = "{emotic}"\n')
    named = run(capsys, "data", "summary", recipe)
    assert named == run(capsys, "data", "summary", "emotic", "--root", emotic)
    majority = run(capsys, "data", "summary", recipe, "--option", "target=majority")
    assert majority["splits"]["val"]["labels_per_subject"] < named["splits"]["val"]["labels_per_subject"]


def test_dedup_writes_a_split_file_for_recipes(emotic: Path, tmp_path: Path, capsys: Capture) -> None:
    images = sorted((emotic / "emotic").rglob("*.jpg"))
    images[-1].write_bytes(images[0].read_bytes())
    kinds = {
        one["kind"] for one in run(capsys, "data", "verify", "emotic", "--root", emotic, code=4)["problems"]
    }
    assert kinds >= {"duplicate"}
    out = tmp_path / "splits.jsonl"
    assert run(capsys, "data", "dedup", "emotic", "--root", emotic, "--out", out)["groups_across_splits"] == 1
    how = ("--set", f"data.split_file={out}")
    assert run(capsys, "data", "verify", "emotic", "--root", emotic, *how)["problems"] == []


def test_doctor_exits_with_0_for_a_complete_copy_and_4_otherwise(
    emotic: Path, tmp_path: Path, capsys: Capture
) -> None:
    lacking = run(capsys, "doctor", "emotic", "--root", tmp_path / "nowhere", code=4)
    assert not lacking["ready"]
    assert lacking["access"]
    assert lacking["license"]
    inside = run(capsys, "doctor", "emotic", "--root", emotic / "emotic", code=4)
    assert str(emotic) in " ".join(inside["advice"])
    assert run(capsys, "doctor", "emotic", "--root", emotic)["ready"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["data", "summary", "emotik"],
        ["data", "summary", "emotic", "--root", ".", "--option", "targets=majority"],
        ["data", "playhouse", "emotix", "--out", "x"],
        ["doctor", "bold", "--root", ".", "--option", "num_frames=0"],
    ],
    ids=["name", "option", "layout", "value"],
)
def test_wrong_usage_exits_with_2(arguments: list[str], capsys: Capture) -> None:
    assert main(arguments) == 2
    assert "hint:" in capsys.readouterr().err


def test_a_folder_with_content_is_refused(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    assert main(["data", "playhouse", "caers", "--out", str(tmp_path / "full")]) == 4
    assert "not an empty folder" in capsys.readouterr().err


def test_without_json_the_output_is_text(emotic: Path, capsys: Capture) -> None:
    assert main(["data", "summary", "emotic", "--root", str(emotic)]) == 0
    assert "chance mAP" in capsys.readouterr().out
    assert main(["data", "verify", "emotic", "--root", str(emotic)]) == 0
    assert "no problems" in capsys.readouterr().out
    main(["doctor", "emotic", "--root", str(emotic)])
    assert "License" in capsys.readouterr().out


def test_a_path_in_place_of_a_name_gets_the_right_command(emotic: Path, capsys: Capture) -> None:
    assert main(["data", "summary", str(emotic)]) == 2
    error = capsys.readouterr().err
    assert f"'{emotic}' is a path, not the name of a dataset" in error
    assert f"manifest --root {emotic}" in error


def test_a_folder_with_the_name_of_a_dataset_does_not_hide_it(emotic: Path, capsys: Capture) -> None:
    assert Path("emotic").is_dir()  # the working directory holds one
    run(capsys, "data", "summary", "emotic", "--root", emotic)
