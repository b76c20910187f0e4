import pytest

from mien.errors import ConfigError
from mien.recipe import Options


class Inner(Options):
    depth: int = 1


class Outer(Options):
    width: int
    inner: Inner = Inner()
    names: tuple[str, ...] = ()


def test_valid_tables_become_frozen_options() -> None:
    options = Outer.parse({"width": 3, "inner": {"depth": 2}, "names": ["a"]}, where="here")
    assert options == Outer(width=3, inner=Inner(depth=2), names=("a",))
    with pytest.raises(ValueError, match="frozen"):
        options.width = 4  # type: ignore[misc]


@pytest.mark.parametrize(
    ("table", "message", "hint"),
    [
        ({"width": 3, "widht": 3}, "here: unknown key 'widht'", "did you mean 'width'?"),
        ({"width": 3, "inner": {"dept": 2}}, "here: unknown key 'inner.dept'", "did you mean 'depth'?"),
        ({}, "here: the key 'width' is missing", "add width"),
        ({"width": "3"}, "here: width = '3' is not valid", "valid integer"),
        ({"width": True}, "here: width = True is not valid", "valid integer"),
        ({"width": 2.5, "inner": {"depth": "x"}}, "(and 1 more)", "valid integer"),
        ({"width": 3, "inner": 4}, "here: inner = 4 is not valid", "object"),
    ],
)
def test_an_invalid_table_is_an_error_with_place_value_and_hint(
    table: dict[str, object], message: str, hint: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        Outer.parse(table, where="here")
    assert message in str(caught.value)
    assert hint in caught.value.hint


def test_values_that_json_cannot_represent_are_refused() -> None:
    with pytest.raises(ConfigError, match="here"):
        Outer.parse({"width": {1, 2}}, where="here")
