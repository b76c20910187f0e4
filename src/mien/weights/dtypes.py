"""Floating-point types: which one this machine computes fast, and what `auto` means here."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Final, Literal, cast

__all__ = ["Dtype", "fast_bfloat16", "resolve_dtype"]

Dtype = Literal["float32", "bfloat16", "float16"]

_CPU_INFO: Final = Path("/proc/cpuinfo")
# Linux's names of instructions that multiply bfloat16, and ours, the fastest first.
_INSTRUCTIONS: Final = {"amx_bf16": "AMX", "avx512_bf16": "AVX512-BF16"}


def fast_bfloat16() -> str | None:
    """The instructions with which this machine's processor computes fast in bfloat16; None without any.

    Known on Linux for x86-64 only. Other processors imitate bfloat16, which is slower than float32.
    """
    if platform.machine() not in ("x86_64", "AMD64"):
        return None
    try:
        lines = _CPU_INFO.read_text(errors="replace").splitlines()
    except OSError:
        return None
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    return next((name for flag, name in _INSTRUCTIONS.items() if flag in flags), None)


def resolve_dtype(name: str, device: str) -> Dtype:
    """The type itself, or for "auto" bfloat16 where the device computes fast in it, else float32."""
    if name != "auto":
        return cast("Dtype", name)
    if device.startswith("cuda"):
        import torch

        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    return "bfloat16" if device == "cpu" and fast_bfloat16() else "float32"
