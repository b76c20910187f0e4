"""The folders of the models that come with the package. Loads nothing."""

from pathlib import Path
from typing import Final, Literal

from mien.errors import WeightsError

__all__ = ["embedded_model_folder"]

_FOLDER: Final = Path(__file__).parent / "weights"


def embedded_model_folder(name: Literal["llava", "words", "detector"]) -> Path:
    """The folder of the tiny LLaVA that describes Playhouse, its vocabulary, or the detector of its people.

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
