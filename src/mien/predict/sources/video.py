"""The frames of a video as sources, one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from mien.errors import ClipError
from mien.media.clips import sample_frames
from mien.predict.sources.image import Source
from mien.types import ImageRef

__all__ = ["DEFAULT_FPS", "video_sources"]

DEFAULT_FPS: Final = 5.0  # frames per second: people who walk are still tracked


def video_sources(
    path: Path, video: int, *, fps: float | None = None, every: int | None = None
) -> Iterator[Source]:
    """The frames that are taken of a video, upright, with number and time.

    A frame that cannot be decoded, and a video that cannot be read, is a source with its error.

    Args:
        path: The video.
        video: Its number in the stream.
        fps: Frames per second; 5 by default.
        every: Take each n-th frame instead.
    """
    if fps is None and every is None:
        fps = DEFAULT_FPS
    try:
        for frame in sample_frames(path, fps=fps, every=every or 1):
            error = frame.image if isinstance(frame.image, ClipError) else None
            pixels = None if isinstance(frame.image, ClipError) else frame.image
            yield Source(
                image=ImageRef(path=path, pixels=pixels),
                error=error,
                video=video,
                frame=frame.number,
                time=frame.time,
            )
    except ClipError as unreadable:
        yield Source(image=ImageRef(path=path), video=video, error=unreadable)
