"""Copies of photos and videos with the people marked, in a folder."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from PIL import Image

from mien.errors import DataError, UsageError
from mien.files import atomic_file, make_folder
from mien.media.views import load_image
from mien.predict.annotate import annotate
from mien.predict.render import IMAGE_FORMATS, save_image
from mien.predict.results import Results
from mien.predict.sources.image import Source

__all__ = ["AnnotatedFolder"]

_TICKS: Final = 1000  # of the clock of a video, per second


class AnnotatedFolder:
    """Draws the results of each source into a file of its own; a file appears when it is complete.

    A photo keeps its format if that is JPEG, PNG or WebP, and becomes PNG otherwise. A video becomes an MP4
    file of the frames that were taken, at their times, without sound. Names begin with the number of the
    source, from 1, so that two of the same name are two files.

    Args:
        folder: Is created if it does not exist.

    Attributes:
        files: What was written, in order.

    Raises:
        UsageError: There is a file in its place.
    """

    def __init__(self, folder: Path) -> None:
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"{folder} is a file", hint="name a folder for annotated images")
        make_folder(folder)
        self.files: list[Path] = []
        self._folder = folder
        self._count = 0
        self._video: int | None = None
        self._writer: _VideoFile | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._end_video(is_complete=kind is None)

    def add(self, source: Source, results: Results) -> None:
        """Draws the next results. What cannot be read is passed over: its error is among the results."""
        if source.video is None or source.video != self._video:
            self._end_video(is_complete=True)
            self._video = source.video
            self._count += 1
        if results.error is not None:
            return
        try:
            loaded = load_image(source.image)
        except DataError:  # a photo that has changed since, or a given one without a detector
            return
        drawn = annotate(loaded.image, results.placed(loaded))
        if source.video is None:
            self._save(drawn, source)
        elif source.time is not None:
            if self._writer is None:
                self._writer = _VideoFile(self._path(source, ".mp4"), drawn.size)
            self._writer.add(drawn, source.time)

    def _path(self, source: Source, suffix: str) -> Path:
        return self._folder / f"{self._count:06d}-{source.image.path.stem[:100]}{suffix}"

    def _save(self, image: Image.Image, source: Source) -> None:
        suffix = source.image.path.suffix.lower()
        path = self._path(source, suffix if suffix in IMAGE_FORMATS else ".png")
        save_image(image, path)
        self.files.append(path)

    def _end_video(self, *, is_complete: bool) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close(is_complete=is_complete)
            if is_complete:
                self.files.append(writer.path)


class _VideoFile:
    """An MP4 file whose frames have times of their own."""

    def __init__(self, path: Path, size: tuple[int, int]) -> None:
        import av

        self.path = path
        self._stack = ExitStack()
        file = self._stack.enter_context(atomic_file(path, sync=False))
        self._container = self._stack.enter_context(av.open(file, "w", format="mp4"))
        # With mbtree, the same frames sometimes become other bytes unless the width is a multiple of 16.
        self._stream: Any = self._container.add_stream("libx264", rate=_TICKS, options={"mbtree": "0"})
        # H.264 has half as many colors as pixels in each direction, so sides are even.
        self._size = (size[0] + size[0] % 2, size[1] + size[1] % 2)
        self._stream.width, self._stream.height = self._size
        self._stream.pix_fmt = "yuv420p"
        self._last = -1

    def add(self, image: Image.Image, time: float) -> None:
        import av

        if image.size != self._size:
            fitted = Image.new("RGB", self._size)
            image.thumbnail(self._size)
            fitted.paste(image)
            image = fitted
        frame: Any = av.VideoFrame.from_ndarray(np.asarray(image), format="rgb24")
        self._last = frame.pts = max(self._last + 1, round(time * _TICKS))
        self._container.mux(self._stream.encode(frame))

    def close(self, *, is_complete: bool) -> None:
        if is_complete:
            self._container.mux(self._stream.encode())
            self._stack.close()
        else:
            # Raised inside, so that the incomplete file is removed.
            try:
                with self._stack:
                    raise InterruptedError
            except InterruptedError:
                pass
