"""Numbers as text."""

from __future__ import annotations

from mien.report.formatting import count_noun, format_count, format_interval, format_number


def test_numbers_have_a_true_minus_sign() -> None:
    assert [format_number(0.12345), format_number(-0.5), format_number(-0.25, 1)] == [
        "0.123",
        "\u22120.500",
        "\u22120.2",
    ]
    assert format_number(0.5, signed=True) == "+0.500"


def test_an_interval_has_both_bounds() -> None:
    assert format_interval(0.5, 0.75) == "0.500 to 0.750"
    assert format_interval(-0.5, 0.75, signed=True) == "\u22120.500 to +0.750"


def test_counts_have_thousands_separators() -> None:
    assert [format_count(7), format_count(1_234_567)] == ["7", "1,234,567"]


def test_a_count_agrees_with_its_noun() -> None:
    assert [count_noun(n, "person", "people") for n in (0, 1, 1_200)] == [
        "no people",
        "1 person",
        "1,200 people",
    ]
    assert [count_noun(n, "file") for n in (1, 2)] == ["1 file", "2 files"]
