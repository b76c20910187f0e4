"""Images that some processors cannot take: the item fails by name with the reason, and the others go on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image
from tests.factories.fake_vllm import NARROW, FakeVllm
from tests.factories.tiny_llava import build_tiny_llava

from mien.describe.engine import Engine, Reply, Request
from mien.describe.fake import FakeEngine
from mien.describe.generate import describe
from mien.describe.local.library import map_model_errors
from mien.describe.prompts import get_prompt
from mien.describe.requests import RequestBuilder
from mien.describe.store.store import Store
from mien.describe.vllm import VllmEngine
from mien.errors import EngineError
from mien.labels import EMOTIC
from mien.media.images import Marking
from mien.types import Subject
from mien.weights.model_folder import find_model

RATIO = "absolute aspect ratio must be smaller than 200, got 227.5"


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_llava(tmp_path_factory.mktemp("models") / "llava")


class Processor(FakeEngine):
    """An engine in this process, whose processor refuses narrow images with the whole batch."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = find_model(str(folder), None)

    def describe(self, requests: Sequence[Request]) -> Sequence[Reply | EngineError]:
        with map_model_errors(self._folder):
            for request in requests:
                if max(request.images[0].size) > 200 * min(request.images[0].size):
                    raise ValueError(RATIO)
        return super().describe(requests)


def write_images(folder: Path) -> list[Subject]:
    """Three images, of which the second is narrow; its color makes `FakeVllm` fail."""
    sizes = ((64, 48), (40, 9100), (48, 64))
    subjects = []
    for number, size in enumerate(sizes):
        red = NARROW if number == 1 else number
        Image.new("RGB", size, (red, 0, 0)).save(folder / f"{number}.png")
        subjects.append(Subject.still(f"person {number}", folder / f"{number}.png"))
    return subjects


@pytest.mark.parametrize("kind", ["local", "vllm"])
def test_narrow(tmp_path: Path, llava: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(VllmEngine, "image_size", None)  # as of a model that takes any shape
    engine: Engine = (
        Processor(llava) if kind == "local" else VllmEngine(str(llava), start=lambda *_: FakeVllm())
    )
    builder = RequestBuilder(engine=engine, prompt=get_prompt("paper"), label_set=EMOTIC, marking=Marking())
    with Store(tmp_path / "store.sqlite") as store:
        summary = describe(write_images(tmp_path), builder, store, batch_size=3)
        (failure,) = store.failures()
    assert (summary.done, summary.failed) == (2, 1)
    assert failure.subject_id == "person 1"
    assert RATIO in failure.error
    assert len(failure.error) < 600


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (27, 27), (9100, 40)])
def test_an_image_of_any_shape_is_fitted_to_a_square(
    tmp_path: Path, llava: Path, size: tuple[int, int]
) -> None:
    """Engines with a fixed size get squares, with padding around the image."""
    Image.new("RGB", size, "red").save(tmp_path / "a.png")
    engine = VllmEngine(str(llava), start=lambda *_: FakeVllm())
    builder = RequestBuilder(engine=engine, prompt=get_prompt("paper"), label_set=EMOTIC, marking=Marking())
    prepared = builder.prepare(builder.build(Subject.still("a", tmp_path / "a.png")))
    assert prepared.images[0].size == (engine.image_size,) * 2
