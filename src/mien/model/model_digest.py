"""Which weights these are: the name of what a run was trained to.

Goes in: a run directory. Comes out: a digest that changes when the weights or their description do.
Knows nothing about: what the weights compute.
"""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open

from mien.errors import RunError
from mien.model.checkpoint import MODEL_FILE

__all__ = ["model_digest"]


def model_digest(folder: Path) -> str:
    """The digest in the header of `model.safetensors`; RunError if there is none. Whether it is true, loading
    the model says."""
    file = folder / MODEL_FILE
    try:
        with safe_open(file, framework="np") as opened:
            return str((opened.metadata() or {})["digest"])
    except (SafetensorError, OSError, KeyError) as error:
        raise RunError(
            f"{file} does not say which weights it holds: {error}", hint="run mien train first"
        ) from error
