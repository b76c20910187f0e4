"""The folders of the models that come with the package. Loads nothing."""

from pathlib import Path
from typing import Final, Literal

from mien.errors import WeightsError

__all__ = ["EmbeddedName", "embedded_model_folder"]

EmbeddedName = Literal["llava", "words", "detector", "clip"]

_FOLDER: Final = Path(__file__).parent / "weights"


def embedded_model_folder(name: EmbeddedName) -> Path:
    """The folder of an embedded model.

    Args:
        name: The tiny LLaVA that describes Playhouse, its vocabulary, the detector of its people, or the
            CLIP, which shares the LLaVA's vision tower.

    Raises:
        WeightsError: If this installation lacks it.
    """
    folder = _FOLDER / name
    if not folder.is_dir():
        raise WeightsError(
            f"the embedded model {name!r} is not in this installation",
            hint="install the package again, or train it with scripts/playhouse (see its README)",
        )
    return folder
