"""Floating-point types: what the processor can do, and what `auto` means there."""

import platform
from pathlib import Path

import pytest
import torch

from mien.weights.dtypes import fast_bfloat16, resolve_dtype

FLAGS = "processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t\t: fpu sse2 avx2 {}\nbugs\t\t: spectre\n"


@pytest.fixture
def cpu_info(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "cpuinfo"
    monkeypatch.setattr("mien.weights.dtypes._CPU_INFO", path)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    return path


@pytest.mark.parametrize(
    ("flags", "instructions"),
    [
        ("avx512f avx512_bf16 amx_bf16 amx_tile", "AMX"),
        ("avx512f avx512_bf16", "AVX512-BF16"),
        ("avx512f avx512_bf16_other", None),
        ("", None),
    ],
)
def test_auto_is_bfloat16_where_the_processor_multiplies_it(
    cpu_info: Path, flags: str, instructions: str | None
) -> None:
    cpu_info.write_text(FLAGS.format(flags))
    assert fast_bfloat16() == instructions
    assert resolve_dtype("auto", "cpu") == ("bfloat16" if instructions else "float32")
    assert resolve_dtype("auto", "mps") == "float32"
    assert [resolve_dtype(name, "cpu") for name in ("float16", "bfloat16")] == ["float16", "bfloat16"]


def test_unknown_processors_compute_in_float32(cpu_info: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fast_bfloat16() is None  # no such file
    cpu_info.write_text(FLAGS.format("amx_bf16"))
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert resolve_dtype("auto", "cpu") == "float32"


@pytest.mark.parametrize(("supported", "dtype"), [(True, "bfloat16"), (False, "float32")])
def test_auto_on_a_gpu(monkeypatch: pytest.MonkeyPatch, supported: bool, dtype: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: supported)
    assert resolve_dtype("auto", "cuda:1") == dtype
