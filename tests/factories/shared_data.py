"""Real photographs and other data next to the repository, which are not part of it."""

from pathlib import Path

import pytest

SHARED = Path(__file__).parents[3] / "shared" / "data"


def shared(*parts: str) -> Path:
    """The path of shared data; skips the test if they are absent."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"no shared data at {path}")
    return path
