"""Memory of predicting as the number of images and the length of a video grow.

    PYTHONPATH=src:. python benchmarks/predict_memory.py [--images 500 5000] [--minutes 1 10]

Each source is read in a process of its own: people are found by their colors, followed, loaded in batches,
scored without a model, and written to a file by way of the journal. So only the memory of mien itself can
grow. Prints JSON: the peak of each process in megabytes of 1e6 bytes, and the ratio of the last to the first.
`benchmarks/video_of_ten_minutes.py` looks at the memory of the command with models over time.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image
from small_predictor import hardware, measure
from tests.factories.color_people import ColorDetector, draw_people

from mien.errors import DataError, MienError
from mien.media.images import Marking
from mien.media.views import OpenedPhoto, prepare_image
from mien.predict.base import SubjectPredictor, load_batches
from mien.predict.output.journal import Journal
from mien.predict.output.write import Outcome, write_results
from mien.predict.sources.open import open_sources
from mien.predict.zero_shot.scorer import ScorerInput
from mien.types import Prediction, Subject

_RATE = 25  # frames per second


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, nargs="+", default=[500, 5000])
    parser.add_argument("--minutes", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--predict", type=Path, nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.predict:
        predict(*arguments.predict)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = {str(count): draw(folder / f"{count}", count) for count in arguments.images}
        videos = {
            str(minutes): film(folder / f"{minutes}.mp4", 60 * minutes) for minutes in arguments.minutes
        }
        report = {
            "date": datetime.now(UTC).date().isoformat(),
            "hardware": hardware(),
            "by_images": peaks(images, folder),
            "by_minutes": peaks(videos, folder),
        }
    print(json.dumps(report, indent=2))


def peaks(sources: dict[str, Path], folder: Path) -> dict[str, Any]:
    """The most memory that each source takes."""
    found = {}
    for name, source in sources.items():
        out = folder / f"{source.name}.jsonl"
        command = [sys.executable, __file__, "--predict", str(source), str(out)]
        found[name] = round(measure(command, folder)["megabytes"], 1)
        assert out.stat().st_size > 0
    first, *_, last = found.values()
    return {"megabytes": found, "growth": round(last / first, 3)}


# --- In a process of one source ----------------------------------------------------------------------


class Red(SubjectPredictor):
    """Scores how red a person is."""

    def each(
        self, subjects: Iterable[Subject], *, batch_size: int | None = None
    ) -> Iterator[Prediction | MienError]:
        for batch in load_batches(subjects, load, batch_size=batch_size or 32):
            for item in batch:
                if isinstance(item, DataError):
                    yield item
                    continue
                red = item.images[0].resize((1, 1)).getpixel((0, 0))[0] / 255  # type: ignore[index]
                yield Prediction(
                    subject_id=item.subject.id, label_set="own", scores={"red": red, "other": 1 - red}
                )


def load(subject: Subject, photo: OpenedPhoto) -> ScorerInput | DataError:
    try:
        return ScorerInput(
            subject=subject, images=(prepare_image(subject, marking=Marking(style="crop"), photo=photo),)
        )
    except DataError as error:
        return error


def predict(source: Path, out: Path) -> None:
    predictor = Red()
    predictor.detector = ColorDetector(one_per_color=True)
    with Journal(out, request="benchmark", command="benchmark") as journal:
        for _ in write_results(predictor, open_sources(source), Outcome(), journal=journal):
            pass


# --- Sources -----------------------------------------------------------------------------------------


def scene(number: int) -> Image.Image:
    left = 4 + number % 40
    return draw_people([(left, 10, left + 24, 80), (96, 10, 124, 80)], size=(160, 96))


def draw(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        scene(number).save(folder / f"{number:06}.jpg", quality=90)
    return folder


def film(path: Path, seconds: int) -> Path:
    with av.open(str(path), "w") as file:
        stream: Any = file.add_stream("libx264", rate=_RATE, options={"preset": "ultrafast"})
        stream.width, stream.height = scene(0).size
        stream.pix_fmt = "yuv420p"
        frames = [np.asarray(scene(number)) for number in range(40)]
        for number in range(_RATE * seconds):
            frame = av.VideoFrame.from_ndarray(frames[number // 5 % 40], format="rgb24")
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


if __name__ == "__main__":
    main()
