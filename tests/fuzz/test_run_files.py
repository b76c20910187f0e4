"""Mutated files of a run: read, or refused with one of our errors."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.factories.tiny_runs import train_tiny_run
from tests.fuzz.harness import MUTANTS, Repair, fuzz

from mien.cli import main
from mien.evaluate.scores import SplitScores, scores_file
from mien.features.cache import FeatureFile
from mien.model.checkpoint import MODEL_FILE, load_trained

pytestmark = [pytest.mark.fuzz, pytest.mark.slow]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = train_tiny_run(tmp_path_factory.mktemp("run"))
    assert main(["evaluate", str(folder), "--split", "test"]) == 0
    return folder


def check(path: Path, read: Callable[[], object], *, repair: Repair | None = None) -> None:
    """Reads a folder in which one file is replaced by mutants."""

    def replace(mutant: Path) -> None:
        path.write_bytes(mutant.read_bytes())
        read()

    report = fuzz([path.read_bytes()], replace, suffix=path.suffix, repair=repair)
    assert report.read + report.refused == MUTANTS
    assert report.refused > 0


@pytest.mark.parametrize("is_digest_right", [False, True])
def test_weights(run: Path, *, is_digest_right: bool) -> None:
    check(run / MODEL_FILE, lambda: load_trained(run), repair=correct_digest if is_digest_right else None)


def correct_digest(data: bytes) -> bytes:
    """A safetensors file whose header is taken as it is, with the digest of its content."""
    size = int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8 : 8 + size])
        text = header["__metadata__"]["mien"]
        content = hashlib.sha256(text.encode())
        for name, tensor in sorted(header.items()):
            if name == "__metadata__":
                continue
            start, end = tensor["data_offsets"]
            kind = {"F32": "torch.float32", "I64": "torch.int64"}[tensor["dtype"]]
            content.update(f"{name} {tuple(tensor['shape'])} {kind}\n".encode())
            content.update(data[8 + size + start : 8 + size + end])
        header["__metadata__"]["digest"] = content.hexdigest()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return data
    new = json.dumps(header).encode()
    new += b" " * (-len(new) % 8)
    return len(new).to_bytes(8, "little") + new + data[8 + size :]


def test_scores(run: Path) -> None:
    path = scores_file(run, "test")
    check(path, lambda: SplitScores.load(path))


@pytest.mark.parametrize("suffix", [".npy", ".json"])
def test_features(tmp_path: Path, suffix: str) -> None:
    path, keys = tmp_path / "features.npy", ["a", "b", "c"]
    with FeatureFile.open(path, signature="s").writing(keys, (2, 4)) as writer:
        writer.write(keys, np.ones((3, 2, 4), dtype=np.float32))

    def read() -> None:
        FeatureFile.open(path, signature="s").reader(keys).read(np.arange(3))

    check(path.with_suffix(suffix), read)
