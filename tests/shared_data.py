"""Real photographs and files that lie beside the repository, where they do; never part of it."""

from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2] / "shared" / "data"


def shared(*parts: str) -> Path:
    """The path of shared data; the test that asks is skipped, with a message, where it is absent."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"no shared data at {path}")
    return path
