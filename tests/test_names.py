"""Names that become files: which are plain, and which paths lie below their folder."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.errors import ConfigError, DataError
from mien.names import is_path_below, plain_name, plain_name_fault

PLAIN = (
    *("train", "test 2", "v1.0", "fold_3", "0", "a..b", "emotic-qformer", "con_trol", "common", "nullable"),
    *("Überprüfung", "тест", "試験", "ทดสอบ", "é" * 100, "_x", "a (b) [c] {d}", "50%"),
)
NOT_PLAIN = (
    *(
        "",
        ".",
        "..",
        "...",
        "../x",
        "a/b",
        "/tmp/x",
        "a\\b",
        "C:\\x",
        "c:x",
        "\\\\host\\x",
        "a\0b",
        "a\nb",
        "a\x1bb",
    ),
    *(".hidden", "-rf", " a", "a ", "a.", "a\u00a0", "~/x", "a*", "a?", "a|b", "<a>", 'a"b'),
    *("CON", "nul", "Nul.txt", "aux.tar.gz", "com1", "LPT9.x", "COM\u00b9", "prn .x", "CONIN$"),
    *(
        "\u202eabc",
        "a\u200bb",
        "\ufeffa",
        "a\u2028b",
        "\u2025",
        "a\uff0fb",
        "\uff0e\uff0e",
        "a\u2024",
        "\ud800",
    ),
    *("a" * 101, "試" * 67, "é" * 101),
)


@pytest.mark.parametrize("name", PLAIN)
def test_plain_names_are_returned(name: str) -> None:
    assert plain_name(name, "the split") == name


@pytest.mark.parametrize("name", NOT_PLAIN, ids=ascii)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(DataError, match=r"^the split .* cannot be the name of a file: it ") as caught:
        plain_name(name, "the split")
    assert caught.value.hint.startswith("use at most 100 letters")
    assert str(caught.value).isascii()
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", [None, 3, b"train", ["train"], Path("train")])
def test_what_is_not_text_is_refused(name: object) -> None:
    with pytest.raises(ConfigError, match="it is not text"):
        plain_name(name, "the variant", error=ConfigError)


def test_a_long_name_is_cut_in_the_message() -> None:
    with pytest.raises(DataError) as caught:
        plain_name("x" * 5_000_000, "the split")
    assert len(str(caught.value)) < 200


@given(st.text(min_size=1))
def test_plain_names_are_one_part_of_a_path(name: str) -> None:
    if not plain_name_fault(name):
        path = Path("folder") / f"samples-{name}.jsonl"
        assert path.parent == Path("folder")
        assert os.path.normpath(Path("folder") / name) == f"folder/{name}"
        assert len(os.fsencode(path.name)) < 230


@pytest.mark.parametrize("path", ["a.jpg", "a/b.jpg", "ü/é.jpg", "a/./b", "..a/b..", "ab:c/d", "~/a"])
def test_paths_below_a_folder(path: str) -> None:
    assert is_path_below(path)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/a",
        "../a",
        "a/../../b",
        "a/..",
        "..",
        "\\a",
        "..\\a",
        "a\\..\\b",
        "C:/a",
        "c:\\a",
        "A:.jpg",
        "a\0b",
    ],
)
def test_other_paths(path: str) -> None:
    assert not is_path_below(path)
