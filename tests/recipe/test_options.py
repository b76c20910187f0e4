import pytest
from pydantic import Field, field_validator

from mien.errors import ConfigError
from mien.recipe import Options


class Inner(Options):
    depth: int = 1

    @field_validator("depth")
    @classmethod
    def _not_too_deep(cls, depth: int) -> int:
        if depth > 9:
            raise ValueError("use at most 9")
        return depth


class Outer(Options):
    width: int
    inner: Inner = Inner()
    names: tuple[str, ...] = ()
    by_name: dict[str, Inner] = Field(default_factory=dict)
    free: dict[str, int] = Field(default_factory=dict)


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
        (
            {"width": 3, "by_name": {"a": {"dept": 2}}},
            "unknown key 'by_name.a.dept'",
            "did you mean 'depth'?",
        ),
        ({"width": 3, "free": {"a": "x"}}, "here: free.a = 'x' is not valid", "valid integer"),
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


def test_the_hint_of_a_validator_has_no_prefix() -> None:
    with pytest.raises(ConfigError, match=r"inner\.depth = 10 is not valid") as caught:
        Outer.parse({"width": 3, "inner": {"depth": 10}}, where="here")
    assert caught.value.hint == "use at most 9"


def test_values_that_json_cannot_represent_are_refused() -> None:
    with pytest.raises(ConfigError, match="here"):
        Outer.parse({"width": {1, 2}}, where="here")
