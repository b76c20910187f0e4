"""A run that commands can read."""

from pathlib import Path

import pytest
from tests.factories.tiny_runs import train_tiny_run


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of images alone."""
    return train_tiny_run(tmp_path_factory.mktemp("predict"))
