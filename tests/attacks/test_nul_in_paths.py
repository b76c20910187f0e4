"""A NUL in a path given from Python is an error of ours; what raises ValueError for it differs by version."""

import pytest

import mien
from mien.errors import DataError, RunError
from mien.predict.sources.open import open_sources


def test_a_run_holds_no_model() -> None:
    with pytest.raises(RunError, match="NUL character"):
        mien.Predictor.from_pretrained("nul\0run", device="cpu")


@pytest.mark.parametrize("pattern", ["nul\0folder/*.png", "nul\0*.png"])
def test_a_pattern_matches_nothing_or_cannot_be_read(pattern: str) -> None:
    with pytest.raises(DataError):
        list(open_sources(pattern))
    (source,) = open_sources([pattern])
    assert isinstance(source.error, DataError)
