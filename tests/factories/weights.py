"""Reads and compares the weights of trained models."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from mien.model.checkpoint import MODEL_FILE, load_trained


def read_weights(run: Path, name: str = MODEL_FILE) -> dict[str, Tensor]:
    """The weights that a training left in its run directory."""
    return load_trained(run, name=name).classifier.state_dict()


def are_bit_equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def assert_weights_close(one: Mapping[str, Tensor], other: Mapping[str, Tensor], *, atol: float) -> None:
    """Compare weights that were learned by sums in another order.

    The bias of attention's keys is not compared. It adds the same to all scores of a query and so changes
    nothing; its gradient is rounding error, which Adam scales up to a step like any other.
    """
    assert one.keys() == other.keys()
    for name, weight in one.items():
        compared = torch.ones_like(weight, dtype=torch.bool)
        if name.endswith("query_key_value.bias"):
            compared.view(3, -1)[1] = False
        elif name.endswith("key_value.bias"):
            compared.view(2, -1)[0] = False
        differences = (weight - other[name])[compared].abs().flatten().tolist()
        difference = max(differences, default=0.0)
        assert difference <= atol, (name, difference)
