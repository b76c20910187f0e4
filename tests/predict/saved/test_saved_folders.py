"""Saved folders: they load anywhere and predict the same; what was changed, added or replaced is refused."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.factories.saved_models import plain_predictions, predict_in_fresh_process
from tests.predict.conftest import Made
from tests.predict.saved.conftest import Saved

from mien.cli import main
from mien.errors import DamagedError, DataError, MienError, RunError
from mien.predict.predictor import Predictor
from mien.predict.saved.layout import CARD, CONFIG, HASHES, RECIPE, write_hashes

WEIGHTS = "model.safetensors"


def edit(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def error_of(folder: Path) -> MienError:
    with pytest.raises(MienError) as caught:
        Predictor.from_pretrained(folder, device="cpu")
    return caught.value


def test_a_fresh_process_elsewhere_predicts_the_same(saved: Saved, copy: Path, tmp_path: Path) -> None:
    assert not saved.machine.exists()
    assert predict_in_fresh_process(copy, saved.subjects, tmp_path) == saved.predictions
    assert {prediction["status"] for prediction in saved.predictions} == {"ok"}


def test_the_folder_says_everything_and_nothing_of_the_machine(saved: Saved) -> None:
    names = {file.relative_to(saved.folder).as_posix() for file in saved.folder.rglob("*") if file.is_file()}
    assert {WEIGHTS, CONFIG, RECIPE, HASHES, CARD, "calibration.json"} <= names
    assert set(json.loads((saved.folder / HASHES).read_text())["files"]) == names - {HASHES, CARD}
    config = json.loads((saved.folder / CONFIG).read_text())
    assert config["labels"]["exclusive"] is True
    assert len(config["labels"]["names"]) == 7
    assert "the person in the red box" in config["describing"]["prompt"]["text"]
    assert "Happy" in config["describing"]["prompt"]["text"]
    assert config["image"]["fit"] == "letterbox"
    assert config["calibration"]["slopes"] == [1.7] * 7
    assert [model["kind"] for model in config["models"]] == ["included"] * 3
    for file in saved.folder.rglob("*"):
        if file.is_file():
            assert str(saved.machine).encode() not in file.read_bytes(), file


def test_a_model_that_two_keys_name_is_copied_once(saved: Saved) -> None:
    assert len(list(saved.folder.rglob("*.safetensors"))) == 2
    assert (saved.folder / "models" / "vision" / "llava" / WEIGHTS).exists()


def test_a_loaded_folder_can_be_saved_again(saved: Saved, tmp_path: Path) -> None:
    predictor = Predictor.from_pretrained(saved.folder, device="cpu")
    again = predictor.save_pretrained(tmp_path / "again")
    assert (tmp_path / "again" / HASHES).read_bytes() == (saved.folder / HASHES).read_bytes()
    assert again.num_files == len([file for file in again.path.rglob("*") if file.is_file()])
    second = Predictor.from_pretrained(tmp_path / "again", device="cpu")
    assert plain_predictions(second, saved.subjects) == saved.predictions


def test_only_an_empty_folder_is_written(make_run: Callable[..., Made], tmp_path: Path) -> None:
    predictor = Predictor.from_pretrained(make_run().run, device="cpu")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="is not an empty folder"):
        predictor.save_pretrained(tmp_path / "full")
    (tmp_path / "empty").mkdir()
    predictor.save_pretrained(tmp_path / "empty")
    assert (tmp_path / "empty" / HASHES).exists()


# --- What is refused -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", [WEIGHTS, CONFIG, RECIPE, "calibration.json", "models/vision/llava/config.json"]
)
def test_every_changed_file_is_named(copy: Path, name: str) -> None:
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    error = error_of(copy)
    assert isinstance(error, DamagedError)
    assert f"{copy / name} has changed since it was saved" in str(error)


@pytest.mark.parametrize("name", [WEIGHTS, "models/vision/llava/model.safetensors"])
def test_a_truncated_file_is_named(copy: Path, name: str) -> None:
    size = (copy / name).stat().st_size
    os.truncate(copy / name, size - 1)
    assert f"{copy / name} has {size - 1:,} bytes instead of {size:,}" in str(error_of(copy))


def test_every_file_is_checked_against_every_damage(copy: Path) -> None:
    """Not a choice of files: each saved file is named if it is changed, cut, emptied or replaced."""
    listed = json.loads((copy / HASHES).read_text())["files"]
    damages: dict[str, Callable[[bytes], bytes]] = {
        "changed": lambda content: bytes([content[0] ^ 1]) + content[1:],
        "cut": lambda content: content[:-1],
        "emptied": lambda _: b"",
        "replaced": lambda _: pickle.dumps([1, 2]),
        "a pickle of the same size": lambda content: pickle.dumps([1])[: len(content)].ljust(len(content)),
    }
    passed = []
    for name in listed:
        content = (copy / name).read_bytes()
        for what, damage in damages.items():
            (copy / name).write_bytes(damage(content))
            error = error_of(copy)
            if not isinstance(error, DamagedError) or str(copy / name) not in str(error):
                passed.append((name, what, str(error)))
        (copy / name).write_bytes(content)
    assert passed == []
    assert len(listed) > 8
    Predictor.from_pretrained(copy, device="cpu")


def test_a_missing_file_is_named(copy: Path) -> None:
    (copy / "calibration.json").unlink()
    assert f"{copy / 'calibration.json'} is missing" in str(error_of(copy))


class Bomb:
    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return os.mkdir, ("exploded",)


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "weights.pkl", "models/vision/llava/x.pt", "last.ckpt"]
)
def test_a_pickle_is_refused_by_name(
    copy: Path, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (copy / name).write_bytes(pickle.dumps(Bomb()))
    assert f"{copy / name} can hold a pickle" in str(error_of(copy))
    entry = {"bytes": 1, "sha256": "0"}
    (copy / name).unlink()
    edit(copy / HASHES, lambda content: content["files"].update({name: entry}))
    assert f"{copy / name} can hold a pickle" in str(error_of(copy))
    assert not (tmp_path / "exploded").exists()


def test_a_pickle_in_the_place_of_weights_is_refused(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (copy / WEIGHTS).write_bytes(pickle.dumps(Bomb()))
    assert str(copy / WEIGHTS) in str(error_of(copy))
    write_hashes(copy)  # as its author would
    assert f"{copy / WEIGHTS} is not safetensors but a pickle" in str(error_of(copy))
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    "name", ["modeling.py", "models/vision/llava/code.so", "run.sh", "sitecustomize.pyc"]
)
def test_a_program_is_refused_by_name(copy: Path, name: str) -> None:
    (copy / name).write_text("print('hello')")
    assert f"{copy / name} is a program" in str(error_of(copy))


@pytest.mark.parametrize("name", ["extra.json", "models/vision/llava/.hidden.safetensors", "notes.docx"])
def test_what_was_not_saved_is_refused(copy: Path, name: str) -> None:
    (copy / name).write_text("{}")
    assert str(copy / name) in str(error_of(copy))


def test_what_git_and_the_hub_leave_is_ignored(saved: Saved, copy: Path) -> None:
    (copy / ".gitattributes").write_text("*.safetensors filter=lfs")
    (copy / ".cache" / "huggingface").mkdir(parents=True)
    (copy / ".cache" / "huggingface" / "model.metadata").write_text("x")
    (copy / CARD).write_text("# Mine")
    predictor = Predictor.from_pretrained(copy, device="cpu")
    assert plain_predictions(predictor, saved.subjects) == saved.predictions


def test_links_out_of_the_folder_are_refused(copy: Path, saved: Saved, tmp_path: Path) -> None:
    outside = tmp_path / "outside.json"
    shutil.move(copy / "calibration.json", outside)
    (copy / "calibration.json").symlink_to(outside)
    error = error_of(copy)
    assert f"{copy / 'calibration.json'} is a link out of the folder, to {outside}" in str(error)
    (copy / "calibration.json").unlink()
    shutil.move(outside, copy / "calibration.json")
    shutil.move(copy / "models" / "vision", tmp_path / "vision")
    (copy / "models" / "vision").symlink_to(tmp_path / "vision")
    assert "models/vision is a link out of the folder" in str(error_of(copy))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("../secret.json", "not a path in the folder"),
        ("/etc/hosts.json", "not a path in the folder"),
        ("models/../../x.json", "not a path in the folder"),
        ("a\\..\\x.json", "not a path in the folder"),
    ],
)
def test_the_list_names_nothing_outside(copy: Path, name: str, expected: str) -> None:
    edit(copy / HASHES, lambda content: content["files"].update({name: {"bytes": 1, "sha256": "0"}}))
    assert expected in str(error_of(copy))


@pytest.mark.parametrize("content", [b"", b"[]", b'{"schema": 1}', b'{"schema": 1, "files": {"a.json": 3}}'])
def test_a_damaged_list_is_named(copy: Path, content: bytes) -> None:
    (copy / HASHES).write_bytes(content)
    error = error_of(copy)
    assert isinstance(error, DamagedError)
    assert str(copy / HASHES) in str(error)


def test_a_folder_without_its_list_is_not_loaded(copy: Path) -> None:
    (copy / HASHES).unlink()
    assert f"{copy} has no {HASHES}" in str(error_of(copy))


@pytest.mark.parametrize(
    ("section", "key", "value", "expected"),
    [
        ("model", "fusion", "antigravity:fly", "names code: model.fusion is 'antigravity:fly'"),
        ("describe", "engine", "os:system", "names code: describe.engine is 'os:system'"),
        ("run", "endpoints", ["http://evil.example/v1"], "sets run.endpoints"),
        ("run", "cluster", "ray://evil.example:10001", "sets run.cluster"),
        ("features", "vision", "../../llava", "outside of the folder"),
        ("describe", "model", "/models/llava", "outside of the folder"),
    ],
)
def test_a_recipe_names_no_code_no_server_and_no_place_outside(
    copy: Path, section: str, key: str, value: object, expected: str
) -> None:
    edit(copy / RECIPE, lambda content: content["recipe"][section].update({key: value}))
    write_hashes(copy)
    error = error_of(copy)
    assert isinstance(error, RunError)
    assert expected in str(error)


def test_another_wording_or_label_order_is_an_error(copy: Path) -> None:
    edit(copy / CONFIG, lambda content: content["describing"]["prompt"].update(text="Say something else"))
    write_hashes(copy)
    error = error_of(copy)
    assert f"{copy / CONFIG} differs from what mien" in str(error)
    assert str(error).endswith("in describing")


def test_the_command_saves_and_predicts(
    make_run: Callable[..., Made], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = make_run("image_only")
    out = tmp_path / "model"
    assert main(["export", "hub", str(made.run), "--out", str(out), "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert table["folder"] == str(out)
    assert table["models"] == "llava (included)"
    image = str(made.samples["test"][0].subject.images[0].path)
    rows = []
    for model in (made.run, out):
        assert main(["predict", image, "--run", str(model), "--box", "4,4,24,28", "--json"]) == 0
        rows.append(json.loads(capsys.readouterr().out))
    assert rows[0] == rows[1]
    assert main(["predict", image, "--run", str(tmp_path / "none"), "--json"]) == 4
    (out / "evil.pkl").write_bytes(b"")
    assert main(["predict", image, "--run", str(out)]) == 4
    assert "evil.pkl can hold a pickle" in capsys.readouterr().err
