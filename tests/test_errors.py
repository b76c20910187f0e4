import pickle

import pytest

from mien import errors
from mien.errors import EngineError, MienError, StoreLockedError, first_line, unknown_name

ALL = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, MienError)]


def test_the_tree_in_the_docstring_names_every_error_with_its_exit_code() -> None:
    assert errors.__doc__ is not None
    drawn: dict[str, int] = {}
    code = 0
    for line in errors.__doc__.splitlines():
        words = line.replace("|", " ").replace("`", " ").replace("--", " ").split()
        if words and words[0].endswith("Error"):
            code = int(words[1]) if words[1].isdigit() else code  # a child has its parent's code
            drawn[words[0]] = code
    assert drawn == {cls.__name__: cls.exit_code for cls in ALL}


@pytest.mark.parametrize("cls", ALL)
def test_every_error_survives_pickling_with_its_hint(cls: type[MienError]) -> None:
    copy = pickle.loads(pickle.dumps(cls("what", hint="do")))  # noqa: S301  made here
    assert (type(copy), str(copy), copy.hint) == (cls, "what", "do")


def test_an_engine_error_is_retryable_per_instance() -> None:
    assert [EngineError("x").retryable, EngineError("x", retryable=True).retryable] == [False, True]
    assert pickle.loads(pickle.dumps(EngineError("x", retryable=True))).retryable  # noqa: S301  made here
    assert StoreLockedError("x").retryable


def test_an_unknown_name_gets_the_nearest_one_in_any_case() -> None:
    error = unknown_name("fusion", "QFORMR", ["concat", "qformer"])
    assert str(error) == "unknown fusion 'QFORMR'"
    assert error.hint == "did you mean 'qformer'? valid names: concat, qformer"


def test_a_hint_lists_the_valid_names_up_to_a_limit() -> None:
    hint = unknown_name("x", "zzz", [f"name{i}" for i in range(38)]).hint
    assert "did you mean" not in hint
    assert hint.endswith("name29, and 8 more")


@pytest.mark.parametrize(
    ("error", "line", "line_with_type"),
    [
        (ValueError("\n  one  \ntwo"), "one  ", "ValueError: one  "),
        (KeyError("a"), "'a'", "KeyError: 'a'"),
        (TimeoutError(" \n"), "TimeoutError", "TimeoutError"),
    ],
)
def test_the_first_line_of_a_message_falls_back_to_the_type(
    error: Exception, line: str, line_with_type: str
) -> None:
    assert (first_line(error), first_line(error, with_type=True)) == (line, line_with_type)


def test_all_is_exact() -> None:
    public = {cls.__name__ for cls in ALL} | {"first_line", "nearest_hint", "unknown_name"}
    assert set(errors.__all__) == public
