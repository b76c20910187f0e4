"""Drawings: what a scene says can be seen, at the size at which the vision tower sees it."""

import random
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from mien.playhouse.draw import (
    OCCASION,
    SIZE,
    SYMBOL,
    draw_scene,
    draw_with_cue_map,
    draw_with_person_map,
    person_boxes,
)
from mien.playhouse.figure import Figure
from mien.playhouse.scene import (
    AGES,
    COLORS,
    EXPRESSIONS,
    GARMENTS,
    GAZES,
    HAIR_COLORS,
    HAIRS,
    LIGHTS,
    POSES,
    SIGNS,
    SKINS,
    STRENGTHS,
    TILTS,
    TURNS,
    WEATHERS,
    DrawnPerson,
    Scene,
    sample_scene,
)
from mien.playhouse.situations import INDOORS, ITEMS, NOTHING, OCCASIONS, SETTINGS, SITUATIONS

SEEDS = st.integers(0, 2**32)
SEEN = 144  # side of an image as the vision tower sees it, in pixels

PERSON = DrawnPerson(
    expression="blank",
    strength=2,
    pose="hanging",
    gaze="viewer",
    turn="front",
    tilt="upright",
    signs=frozenset(),
    age="adult",
    item=NOTHING,
    garment="shirt",
    color="blue",
    skin="tan",
    hair="short",
    hair_color="brown",
    center=0.68,
    height=0.85,
    lift=0.02,
    role="accompanied",
)
SCENE = Scene(
    setting="park",
    occasion="ordinary",
    light="day",
    weather="dry",
    company="accompanied",
    people=(replace(PERSON, center=0.3, color="green"), PERSON),
    subject=1,
    decoration_seed=7,
)


def _see(scene: Scene) -> np.ndarray:
    """[row, column, channel]: the pixels as the vision tower sees them."""
    image = draw_scene(scene).image.resize((SEEN, SEEN), Image.Resampling.BICUBIC)
    return np.asarray(image).astype(int)


def _with(**changes: Any) -> Scene:
    """The scene whose subject is changed."""
    return replace(SCENE, people=(SCENE.people[0], replace(PERSON, **changes)))


def _count_changed(first: np.ndarray, second: np.ndarray) -> int:
    return int((np.abs(first - second).max(axis=2) > 40).sum())


def _assert_different(scenes: dict[Any, Scene], pixels: int) -> None:
    seen = {name: _see(scene) for name, scene in scenes.items()}
    for first, second in combinations(seen, 2):
        assert _count_changed(seen[first], seen[second]) >= pixels, (first, second)


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_the_same_scene_gives_the_same_pixels(seed: int) -> None:
    first, second = (draw_scene(sample_scene(random.Random(seed))) for _ in range(2))
    assert first.image.tobytes() == second.image.tobytes()
    assert first.boxes == second.boxes


@given(SEEDS)
@settings(max_examples=40, deadline=None)
def test_everyone_is_inside_their_box_and_no_one_is_hidden(seed: int) -> None:
    scene = sample_scene(random.Random(seed), even=True)
    with_nothing = tuple(replace(person, item=NOTHING) for person in scene.people)  # may be outside the box
    drawing, person_map = draw_with_person_map(replace(scene, people=with_nothing))
    owner = np.asarray(person_map)
    assert drawing.image.size == (SIZE, SIZE)
    assert drawing.boxes == person_boxes(scene)
    for index, box in enumerate(drawing.boxes):
        rows, columns = np.nonzero(owner == index + 1)
        assert len(rows) > 400
        slack = 0.05 * SIZE  # the tip of a cap or of a shoe may be outside
        assert columns.min() >= box.left - slack
        assert columns.max() < box.right + slack
        assert rows.min() >= box.top - slack
        assert rows.max() < box.bottom + slack


@given(SEEDS)
@settings(max_examples=25, deadline=None)
def test_most_of_every_face_is_visible(seed: int) -> None:
    """No one's arm is in front of another one's face."""
    scene = sample_scene(random.Random(seed), even=True)
    owner = np.asarray(draw_with_person_map(scene)[1])
    canvas = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    rows, columns = np.mgrid[:SIZE, :SIZE]
    for index, person in enumerate(scene.people):
        figure = Figure(canvas, person, SIZE)
        face = np.hypot(columns - figure.head[0], rows - figure.head[1]) < 0.95 * figure.radius
        assert (owner[face] == index + 1).mean() > 0.7


def test_the_person_map_does_not_change_the_image() -> None:
    for seed in range(6):
        scene = sample_scene(random.Random(seed))
        assert draw_with_person_map(scene)[0].image.tobytes() == draw_scene(scene).image.tobytes()


def test_the_person_map_leaves_out_what_is_in_front_of_people() -> None:
    fire = replace(SCENE, occasion="fire")
    plain, burning = (np.asarray(draw_with_person_map(scene)[1]) for scene in (SCENE, fire))
    assert (burning[-20:] > 0).sum() < (plain[-20:] > 0).sum()


def test_every_place_occasion_and_item_can_be_drawn_at_any_size() -> None:
    rng = random.Random(0)
    situations = {place[:2]: place for place in SITUATIONS} | {place.item: place for place in SITUATIONS}
    for number, situation in enumerate(situations.values()):
        scene = replace(sample_scene(rng), setting=situation.setting, occasion=situation.occasion)
        people = tuple(replace(person, item=situation.item) for person in scene.people)
        size = (64, 144, 200)[number % 3]
        assert draw_scene(replace(scene, people=people), size).image.size == (size, size)


@pytest.mark.parametrize(
    ("field", "values", "pixels"),
    [
        ("item", ITEMS, 100),
        ("expression", EXPRESSIONS, 15),
        ("age", AGES, 60),
        ("tilt", TILTS, 150),
        ("turn", TURNS, 60),
        ("gaze", tuple(gaze for gaze in GAZES if gaze != "item"), 20),
        ("pose", POSES, 100),
        ("garment", GARMENTS, 100),
        ("color", tuple(color for color in COLORS if color != "green"), 400),
        ("hair", HAIRS, 40),
        ("hair_color", HAIR_COLORS, 60),
    ],
)
def test_values_of_an_attribute_look_different(field: str, values: tuple[str, ...], pixels: int) -> None:
    _assert_different({value: _with(**{field: value}) for value in values}, pixels)


@pytest.mark.parametrize("skin", ["porcelain", "deep"])
def test_strengths_and_signs_are_visible_on_every_skin(skin: str) -> None:
    for expression in EXPRESSIONS[:4]:
        scenes = {
            strength: _with(expression=expression, strength=strength, skin=skin) for strength in STRENGTHS
        }
        _assert_different({**scenes, "blank": _with(skin=skin)}, 8)
    signs = {sign: _with(signs=frozenset({sign}), skin=skin) for sign in SIGNS}
    _assert_different({**signs, "none": _with(skin=skin)}, 40)


def test_skins_look_different() -> None:
    faces = [_see(_with(skin=skin)) for skin in SKINS]
    for first, second in combinations(faces, 2):
        assert (np.abs(first - second).max(axis=2) > 15).sum() > 600


@pytest.mark.parametrize("pose", POSES)
def test_eyes_that_look_at_an_item_look_nowhere_else(pose: str) -> None:
    _assert_different({gaze: _with(gaze=gaze, item="ball", pose=pose) for gaze in GAZES}, 8)


def test_gaze_and_turn_are_on_the_side_of_the_neighbor() -> None:
    """The pupils, which are dark, move toward the neighbor, who is on the left, or away from them."""
    canvas = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    figure = Figure(canvas, PERSON, SIZE)
    left, upper = (round(figure.head[axis] - 0.7 * figure.radius) for axis in (0, 1))
    right, lower = round(figure.head[0] + 0.7 * figure.radius), round(figure.head[1] + 0.12 * figure.radius)

    def darkness(scene: Scene) -> float:
        part = np.asarray(draw_scene(scene).image.convert("L"))[upper:lower, left:right]
        return float(np.nonzero(part < 60)[1].mean())

    neighbor, viewer, aside = (darkness(_with(gaze=gaze)) for gaze in ("neighbor", "viewer", "aside"))
    assert neighbor < viewer < aside
    toward, away = (darkness(_with(turn=turn)) for turn in ("toward", "away"))
    assert toward < away


def test_settings_look_different_behind_three_people() -> None:
    people = tuple(replace(PERSON, center=center, height=0.78) for center in (0.2, 0.48, 0.84))
    scene = replace(SCENE, people=people)
    _assert_different({name: replace(scene, setting=name) for name in SETTINGS}, 1500)


@pytest.mark.parametrize("setting", SETTINGS)
def test_occasions_look_different_behind_three_people(setting: str) -> None:
    people = tuple(replace(PERSON, center=center, height=0.78) for center in (0.2, 0.48, 0.84))
    scene = replace(SCENE, people=people, setting=setting)
    happening = {place.occasion for place in SITUATIONS if place.setting == setting}
    occasions = [name for name in OCCASIONS if name in happening or name == "ordinary"]
    _assert_different({name: replace(scene, occasion=name) for name in occasions}, 600)


def test_light_and_weather_change_the_background_but_not_the_people() -> None:
    owner = np.asarray(draw_with_person_map(SCENE)[1])
    day = np.asarray(draw_scene(SCENE).image).astype(int)
    for light in LIGHTS[1:]:
        other = np.asarray(draw_scene(replace(SCENE, light=light)).image).astype(int)
        assert np.array_equal(day[owner > 0], other[owner > 0])
        assert np.abs(day - other)[owner == 0].mean() > 25
    for setting in SETTINGS:
        weathers = WEATHERS if setting not in INDOORS else ("dry",)
        scenes = {
            (light, weather): replace(SCENE, setting=setting, light=light, weather=weather)
            for light in LIGHTS
            for weather in weathers
        }
        _assert_different(scenes, 300)


def test_what_is_held_is_inside_the_image() -> None:
    for center in (0.15, 0.85):
        for pose in POSES:
            scene = replace(
                SCENE, people=(replace(PERSON, center=center, pose=pose, height=0.92),), subject=0
            )
            empty, full = (
                _see(scene),
                _see(replace(scene, people=(replace(scene.people[0], item="suitcase"),))),
            )
            assert _count_changed(empty, full) > 200, (center, pose)


def test_the_cue_map_shows_the_occasion_and_who_does_what_to_whom() -> None:
    for seed in range(30):
        scene = sample_scene(random.Random(seed))
        owner, cues = (np.asarray(draw(scene)[1]) for draw in (draw_with_person_map, draw_with_cue_map))
        people = cues < OCCASION
        np.testing.assert_array_equal(owner, np.where(people, cues, 0))
        assert (cues == OCCASION).any() == (scene.occasion != "ordinary")
        assert (cues == SYMBOL).any() == (scene.company in ("comfort", "shouting", "cheering"))
