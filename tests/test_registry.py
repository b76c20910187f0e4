from pathlib import Path

import pytest

from mien import registry
from mien.errors import ConfigError, UnknownNameError
from mien.labels import LabelSet


def test_the_names_of_a_kind_are_those_of_its_table() -> None:
    assert registry.registered_names("fusion") == (
        "concat",
        "cross_attention",
        "gated",
        "image_only",
        "qformer",
        "text_only",
    )


def test_your_own_component_is_named_by_module_and_class() -> None:
    assert registry.resolve("dataset", "mien.labels:LabelSet") is LabelSet


def test_an_unknown_name_gets_the_nearest_one_as_hint() -> None:
    with pytest.raises(UnknownNameError, match="unknown fusion 'qforma'") as caught:
        registry.resolve("fusion", "qforma")
    assert "did you mean 'qformer'?" in caught.value.hint
    with pytest.raises(UnknownNameError, match="kind of component 'fusoin'"):
        registry.resolve("fusoin", "qformer")
    with pytest.raises(UnknownNameError, match="'LabelSett'") as caught:
        registry.resolve("dataset", "mien.labels:LabelSett")
    assert "did you mean 'LabelSet'?" in caught.value.hint


def test_a_module_that_cannot_be_imported_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="not installed"):
        registry.resolve("engine", "no_such_package.mod:Class")


@pytest.mark.parametrize("name", [":Class", "..up:Class", "a/b:Class", "a.b:", "a.b:C.d", "a\0:C", "a b:C"])
def test_what_is_not_a_module_and_a_name_is_a_config_error(name: str) -> None:
    with pytest.raises(ConfigError, match="is not a module and a name in it"):
        registry.resolve("engine", name)


def test_a_missing_dependency_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_engine.py").write_text("import absent_dependency\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match="'absent_dependency'"):
        registry.resolve("engine", "own_engine:Engine")
