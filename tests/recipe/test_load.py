from pathlib import Path

import pytest

from mien.errors import ConfigError
from mien.recipe.load import apply_overrides, load_recipe, parse_recipe


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text('name = "small"\n[train]\nlr = 0.25\n[evaluate]\nsplits = ["val", "test"]\n')
    return path


def test_a_recipe_combines_file_defaults_and_overrides(recipe_file: Path) -> None:
    recipe = load_recipe(recipe_file, ["train.epochs=3", "data.root=some/folder", "run.device=cpu"])
    assert (recipe.name, recipe.train.lr, recipe.train.epochs) == ("small", 0.25, 3)
    assert recipe.data.root == Path("some/folder")
    assert recipe.evaluate.splits == ("val", "test")


def test_the_path_may_be_a_string(recipe_file: Path) -> None:
    assert load_recipe(str(recipe_file)) == load_recipe(recipe_file)


def test_an_unknown_key_is_an_error_with_file_and_nearest_key(recipe_file: Path) -> None:
    with pytest.raises(ConfigError, match=r"recipe\.toml: unknown key 'train\.epoch'") as caught:
        load_recipe(recipe_file, ["train.epoch=3"])
    assert "did you mean 'epochs'?" in caught.value.hint


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("a=1", 1),
        ("a=1.5", 1.5),
        ("a=true", True),
        ("a=[1, 2]", [1, 2]),
        ('a="1"', "1"),
        ("a=red_box", "red_box"),
        ("a = org/model-7b ", "org/model-7b"),
        ("a=x=y", "x=y"),
        ("a=", ""),
    ],
)
def test_override_values_are_toml_and_bare_words_are_text(override: str, value: object) -> None:
    assert apply_overrides({}, [override]) == {"a": value}


def test_overrides_apply_in_order_to_a_copy() -> None:
    table = {"a": {"b": 1}}
    assert apply_overrides(table, ["a.b=2", "a.b=3", "c.d=4"]) == {"a": {"b": 3}, "c": {"d": 4}}
    assert table == {"a": {"b": 1}}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("a", "not key=value"),
        ("=1", "not key=value"),
        ("a..b=1", "not key=value"),
        ("a=[1", "a=\\[1"),
        ("a=1\nb=2", "more than one key"),
        ("name.x=1", "name is a value"),
    ],
)
def test_a_wrong_override_is_a_config_error(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_recipe({"name": "x"}, [override], where="test")


def test_an_unreadable_recipe_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no recipe at"):
        load_recipe(tmp_path / "absent.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_recipe(tmp_path)
    for name, content in [("a.toml", b"name = "), ("b.toml", b"\xff\xfe")]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ConfigError, match="is not TOML"):
            load_recipe(tmp_path / name)


def test_an_unknown_loss_is_an_error_with_the_nearest_one(recipe_file: Path) -> None:
    with pytest.raises(ConfigError, match=r"train\.loss = 'focl' is not valid") as caught:
        load_recipe(recipe_file, ["train.loss=focl"])
    assert caught.value.hint.startswith("did you mean 'focal'? ")
    assert "package.module:name" in caught.value.hint


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_recipe({"name": "x", "model": {"width": 10, "heads": 4}}, where="test")
    assert "multiple of model.heads" in caught.value.hint
