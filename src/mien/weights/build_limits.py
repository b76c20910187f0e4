"""Builds a model without memory first, to compare it with its weights: a config may ask for anything."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_parameter_registration_hook,
)
from torch.overrides import TorchFunctionMode

__all__ = ["OversizedError", "check_size"]

# What a model may have beyond its saved weights: parts that are not used, tables that are computed.
_MORE_TENSORS: Final = 100
_MORE_VALUES: Final = 10_000_000
_FILLS: Final = {Tensor.normal_, Tensor.uniform_}


class OversizedError(ValueError):
    """A model has many more weights than its files hold."""


def check_size(build: Callable[[], object], sizes: Iterable[int], *, factor: int = 2) -> None:
    """Builds a model without memory, and stops as soon as it is much larger than its saved weights.

    Args:
        build: Builds the model. What else it raises is ignored: building the real one will raise it.
        sizes: The number of values of each saved tensor.
        factor: By how much the model may be larger; quantized weights hold several values in one.

    Raises:
        OversizedError: The model is larger.
    """
    saved = list(sizes)
    most_tensors, most_values = factor * len(saved) + _MORE_TENSORS, factor * sum(saved) + _MORE_VALUES
    thread, tensors, values = threading.get_ident(), 0, 0

    def count(module: nn.Module, name: str, tensor: Any) -> None:
        nonlocal tensors, values
        if tensor is None or threading.get_ident() != thread:
            return
        tensors, values = tensors + 1, values + tensor.numel()
        if tensors > most_tensors or values > most_values:
            raise OversizedError(
                f"a model with more than {tensors - 1:,} tensors or {values:,} values; the weights have "
                f"{len(saved):,} with {sum(saved):,}"
            )

    hooks = (
        register_module_parameter_registration_hook(count),
        register_module_buffer_registration_hook(count),
    )
    try:
        with torch.device("meta"), _WithoutRandomValues(), torch.random.fork_rng(devices=[]):
            build()
    except OversizedError:
        raise
    except Exception:  # noqa: BLE001  own modules may need real memory
        return
    finally:
        for hook in hooks:
            hook.remove()


class _WithoutRandomValues(TorchFunctionMode):
    """Does not fill tensors without memory with random values, for which torch imports its compiler."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _FILLS or getattr(func, "__module__", None) == nn.init.__name__:
            tensor = kwargs["tensor"] if "tensor" in kwargs else args[0]
            if tensor.is_meta:
                return tensor
        return func(*args, **kwargs)
