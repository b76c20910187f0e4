"""Compares weights that were learned by sums in another order."""

from collections.abc import Mapping

import torch
from torch import Tensor


def assert_weights_close(one: Mapping[str, Tensor], other: Mapping[str, Tensor], *, atol: float) -> None:
    """All weights that matter are as near as that.

    The bias of attention's keys adds the same to all of a query's scores. It changes nothing, so its
    gradient is rounding alone, which Adam scales up to a step like any other: it is left out.
    """
    assert one.keys() == other.keys()
    for name, weight in one.items():
        keep = torch.ones_like(weight, dtype=torch.bool)
        if name.endswith("query_key_value.bias"):
            keep.view(3, -1)[1] = False
        elif name.endswith("key_value.bias"):
            keep.view(2, -1)[0] = False
        differences = (weight - other[name])[keep].abs().flatten().tolist()
        difference = max(differences, default=0.0)
        assert difference <= atol, (name, difference)
