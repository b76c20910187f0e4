"""Arguments come as text or numbers, mean what `mien serve` means, and are refused where they are wrong."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from mien.cli.serve import serve
from mien.errors import UsageError
from mien.serve.ray.arguments import Arguments
from mien.serve.settings import ServiceOptions


def test_the_defaults_are_those_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MIEN_SERVE_TOKEN", raising=False)
    arguments = Arguments(run="r")
    assert arguments.service_options() == ServiceOptions()
    command = {
        name: parameter.default
        for name, parameter in inspect.signature(serve).parameters.items()
        if name in Arguments.model_fields
    }
    assert len(command) == 13
    assert {name: getattr(arguments.model_copy(update={"run": None}), name) for name in command} == command


def test_values_of_a_command_line_are_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_SERVE_TOKEN", "x" * 16)
    text = {
        "run": "r",
        "replicas": "3",
        "gpus": "0.5",
        "max_wait": "2",
        "max_upload": "0.5",
        "unguarded": "true",
    }
    arguments = Arguments.model_validate(text)
    assert (arguments.replicas, arguments.gpus, arguments.unguarded) == (3, 0.5, True)
    options = arguments.service_options()
    assert (options.max_wait, options.max_body_bytes, options.token) == (0.002, 2**19, "x" * 16)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "give run, or zero_shot"),
        ({"run": "r", "zero_shot": "m"}, "run excludes"),
        ({"run": "r", "labels": "emotic"}, "run excludes"),
        ({"run": "r", "replica": 2}, "unknown argument 'replica'"),
        ({"run": "r", "replicas": 0}, "replicas is 0: Input should be greater than"),
        ({"run": "r", "cpus": 0}, "cpus"),
        ({"run": "r", "gpus": "nan"}, "gpus"),
        ({"zero_shot": "m", "method": "guess"}, "method"),
        ({"run": "r", "token": "x" * 16}, "token"),  # a configuration is shown in the dashboard
    ],
)
def test_what_is_wrong(given: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        Arguments.parse(given)


def test_a_misspelled_name_has_a_hint() -> None:
    with pytest.raises(UsageError) as caught:
        Arguments.parse({"run": "r", "replica": "2"})
    assert caught.value.hint.startswith("did you mean 'replicas'?")


@pytest.mark.parametrize("name", ["RAY_SERVE_ENABLE_HA_PROXY", "RAY_SERVE_ENABLE_DIRECT_INGRESS", None])
def test_a_token_is_needed_behind_a_proxy_on_the_same_node(
    monkeypatch: pytest.MonkeyPatch, name: str | None
) -> None:
    monkeypatch.delenv("MIEN_SERVE_TOKEN", raising=False)
    if name is not None:
        monkeypatch.setenv(name, "0")
        assert Arguments(run="r").service_options().token is None
        monkeypatch.setenv(name, "1")
    arguments = Arguments(run="r", unguarded=name is None)
    with pytest.raises(UsageError, match=name or "unguarded is true"):
        arguments.service_options()
    monkeypatch.setenv("MIEN_SERVE_TOKEN", "x" * 16)
    assert arguments.service_options().token == "x" * 16


@pytest.mark.parametrize(
    "given", [{"max_batch": 0}, {"max_pending": -1}, {"max_upload": 1e-9}, {"max_pixels": 0}]
)
def test_limits_that_are_too_small(given: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Arguments(run="r", **given).service_options()


def test_paths_become_absolute_where_they_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path)
    assert Arguments(run="run", detector="ORG/NAME").with_absolute_paths() == Arguments(
        run=str(tmp_path / "run"), detector="ORG/NAME"
    )


@pytest.mark.parametrize("detector", ["none", "whole", "playhouse", "transformers"])
def test_names_stay_names_where_folders_have_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, detector: str
) -> None:
    (tmp_path / "playhouse").mkdir()
    (tmp_path / detector).mkdir(exist_ok=True)
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)
    arguments = Arguments(zero_shot="playhouse", detector=detector)
    assert arguments.with_absolute_paths() == arguments
    folders = Arguments(zero_shot="model", detector="model").with_absolute_paths()
    assert folders.zero_shot == folders.detector == str(tmp_path / "model")
