"""What tests need of the versions of libraries; `make test-lowest` installs the oldest that are allowed."""

from importlib.metadata import version

import pytest
from packaging.version import Version

__all__ = ["draws_as_recorded", "require_smolvlm"]

# The random numbers of torch, such as those of dropout, differ between its versions.
draws_as_recorded = pytest.mark.skipif(
    Version(version("torch")) < Version("2.13"), reason="the numbers were recorded with torch 2.13"
)


def require_smolvlm() -> None:
    """Skips the test where transformers cannot read SmolVLM's images without torchvision."""
    if Version(version("transformers")) < Version("5.20"):
        pytest.skip("SmolVLM needs torchvision in this version of transformers")
