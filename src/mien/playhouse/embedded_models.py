"""Where the models that travel with the package lie.

In: the name of one. Out: its folder. Knows nothing about what is in it, and loads nothing.
"""

from pathlib import Path
from typing import Final, Literal

from mien.errors import WeightsError

_FOLDER: Final = Path(__file__).parent / "weights"


def embedded_model_folder(name: Literal["llava", "words"]) -> Path:
    """The folder of the tiny LLaVA that describes Playhouse, or of the vocabulary of its descriptions."""
    folder = _FOLDER / name
    if not folder.is_dir():
        raise WeightsError(
            f"the embedded_model_folder model {name!r} is not in this installation",
            hint="install the package again, or train it with scripts/playhouse (see its README)",
        )
    return folder
