"""Models on the Hub: pushed to a local server with its API by the real client, and loaded from there."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.factories.hub_server import DENIED, GRANTED, HubServer, own_hub, settings
from tests.factories.saved_models import plain_predictions, predict_in_fresh_process
from tests.predict.conftest import Made
from tests.predict.saved.conftest import Saved

from mien.cli import main
from mien.errors import DamagedError, RunError, UsageError, WeightsError
from mien.predict.loading import find_source
from mien.predict.predictor import Predictor
from mien.predict.saved.layout import CARD, HASHES
from mien.weights import hub

__all__ = ["own_hub"]  # a fixture

NAME = "lab/tiny-caers"


@pytest.fixture
def server(own_hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> HubServer:
    """The server, and this machine logged in."""
    monkeypatch.setenv("HF_TOKEN", GRANTED)
    return own_hub


def push(saved: Saved, name: str = NAME) -> str:
    return Predictor.from_pretrained(saved.folder, device="cpu").push_to_hub(name)


def test_what_is_pushed_predicts_the_same_in_a_fresh_process(
    saved: Saved, server: HubServer, tmp_path: Path
) -> None:
    address = push(saved)
    repository = server.repositories[NAME]
    assert repository.private
    commit = repository.refs["main"]
    assert address == f"{server.url}/{NAME}/commit/{commit}"
    local = {file.relative_to(saved.folder).as_posix() for file in saved.folder.rglob("*") if file.is_file()}
    assert set(repository.commits[commit]) == local
    assert [method for method, path in server.requests if "/commit/" in path] == ["POST"]
    environment = {**settings(server, tmp_path / "other"), "HF_TOKEN": GRANTED}
    for model in (NAME, f"{NAME}@{commit}"):
        assert predict_in_fresh_process(model, saved.subjects, tmp_path, environment) == saved.predictions


def test_the_second_push_replaces_the_files_of_the_first(
    saved: Saved, make_run: Callable[..., Made], server: HubServer
) -> None:
    push(saved)
    server.repositories[NAME].commits[server.repositories[NAME].refs["main"]]["figure.png"] = b"of its author"
    predictor = Predictor.from_pretrained(make_run("image_only").run, device="cpu")
    predictor.push_to_hub(NAME, private=False)
    repository = server.repositories[NAME]
    assert repository.private, "an existing repository keeps its visibility"
    files = repository.commits[repository.refs["main"]]
    assert "figure.png" in files
    assert not any(name.startswith("models/tokenizer") or name == "calibration.json" for name in files)
    assert set(json.loads(files[HASHES])["files"]) == set(files) - {HASHES, CARD, "figure.png"}


def test_the_command_pushes_and_predict_loads_by_name(
    make_run: Callable[..., Made], server: HubServer, capsys: pytest.CaptureFixture[str]
) -> None:
    made = make_run("image_only")
    assert main(["push", str(made.run), "lab/tiny", "--public", "--message", "First", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "lab/tiny"
    assert not server.repositories["lab/tiny"].private
    image = str(made.samples["test"][0].subject.images[0].path)
    rows = []
    for model in (str(made.run), "lab/tiny"):
        assert main(["predict", image, "--run", model, "--box", "4,4,24,28", "--json"]) == 0
        rows.append(json.loads(capsys.readouterr().out))
    assert rows[0] == rows[1]
    commit = server.repositories["lab/tiny"].refs["main"]
    for model in (str(made.run), "lab/tiny", f"lab/tiny@{commit}"):
        assert find_source(model).name == (made.run.name if model == str(made.run) else "tiny")


def test_only_listed_files_are_downloaded_and_a_known_commit_needs_no_request(
    saved: Saved, server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(saved)
    repository = server.repositories[NAME]
    files = dict(repository.commits[repository.refs["main"]])
    server.add(NAME, {**files, "evil.pkl": b"1", "onnx/model.onnx": b"2"})
    server.requests.clear()
    commit = repository.refs["main"]
    predictor = Predictor.from_pretrained(f"{NAME}@{commit}", device="cpu")
    assert plain_predictions(predictor, saved.subjects) == saved.predictions
    assert {"evil.pkl", "model.onnx", CARD}.isdisjoint(server.downloads)
    server.requests.clear()
    monkeypatch.setattr(hub, "_models", {})  # as a new process
    Predictor.from_pretrained(f"{NAME}@{commit}", device="cpu")
    assert server.requests == []


# --- What is refused -----------------------------------------------------------------------------------


def test_a_tampered_or_truncated_file_on_the_hub_is_named(saved: Saved, server: HubServer) -> None:
    files = {
        path.relative_to(saved.folder).as_posix(): path.read_bytes()
        for path in saved.folder.rglob("*.*")
        if path.is_file()
    }
    weights = files["model.safetensors"]
    server.add("lab/short", {**files, "model.safetensors": weights[:-4]})
    with pytest.raises(DamagedError, match=r"model\.safetensors has [\d,]+ bytes instead of"):
        Predictor.from_pretrained("lab/short", device="cpu")
    server.add("lab/changed", {**files, "config.json": files["config.json"].replace(b"Happy", b"Angry")})
    with pytest.raises(DamagedError, match=r"config\.json has changed"):
        Predictor.from_pretrained("lab/changed", device="cpu")
    server.add("lab/pickled", {**files, "model.safetensors": pickle.dumps([1])})
    with pytest.raises(DamagedError, match=r"model\.safetensors has"):
        Predictor.from_pretrained("lab/pickled", device="cpu")
    listed = json.loads(files[HASHES])
    listed["files"]["weights.bin"] = {"bytes": 1, "sha256": "0"}
    server.add("lab/listed", {**files, "weights.bin": b"1", HASHES: json.dumps(listed).encode()})
    with pytest.raises(RunError, match=r"weights\.bin can hold a pickle"):
        Predictor.from_pretrained("lab/listed", device="cpu")
    assert "weights.bin" not in server.downloads
    del files["model.safetensors"]
    server.add("lab/lacking", files)
    with pytest.raises(WeightsError, match=r"lab/lacking on the Hub lacks model\.safetensors"):
        Predictor.from_pretrained("lab/lacking", device="cpu")


def test_other_models_and_unknown_names_are_distinguished(server: HubServer, tmp_path: Path) -> None:
    server.add("org/clip", {"config.json": b"{}", "model.safetensors": b"x"})
    with pytest.raises(RunError, match="it was not saved by mien"):
        Predictor.from_pretrained("org/clip", device="cpu")
    with pytest.raises(WeightsError, match="no folder 'org/nothing' here, and the Hub has no model"):
        Predictor.from_pretrained("org/nothing", device="cpu")
    (tmp_path / "runs").mkdir()
    server.requests.clear()
    with pytest.raises(RunError):
        Predictor.from_pretrained(tmp_path / "runs" / "nothing", device="cpu")
    assert server.requests == [], "a path is never asked for"


def test_a_push_without_permission_is_an_error(
    saved: Saved, server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="'tiny' is not a name on the Hub"):
        push(saved, "tiny")
    with pytest.raises(UsageError, match="is not a name on the Hub"):
        push(saved, "lab/../x")
    monkeypatch.setenv("HF_TOKEN", DENIED)
    with pytest.raises(WeightsError, match="this account may not write to lab/tiny-caers"):
        push(saved)
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(WeightsError, match="does not accept the token of this machine"):
        push(saved)
    assert NAME not in server.repositories
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match="HF_HUB_OFFLINE forbids it"):
        push(saved)
