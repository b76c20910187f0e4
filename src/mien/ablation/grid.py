"""The grid of an ablation: a base recipe, and variants that each change something about it.

Grid files are in recipes/ablations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from mien.ablation.controls import ScoredTexts, TextControl
from mien.errors import ConfigError, unknown_name
from mien.names import plain_name
from mien.recipe import Options, Recipe
from mien.recipe.load import parse_recipe, read_toml

__all__ = ["Grid", "GridOptions", "Variant", "VariantOptions", "load_grid"]

# Variants become directories.
_Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
_Seed = Annotated[int, Field(ge=0)]
_Size = Annotated[int, Field(gt=0)]


class VariantOptions(Options):
    """`[variants.NAME]`: settings of the recipe, and controls that no recipe has."""

    set: tuple[str, ...] = ()
    """Changes to the recipe, as in `--set`."""

    texts: TextControl | None = None
    """Control applied to all descriptions before training."""

    scored_texts: ScoredTexts | None = None
    """Control applied after training to the descriptions of the scored split; `missing` removes them."""

    train_share: float = Field(default=1.0, gt=0, le=1)
    """Share of the training images to train on."""


class GridOptions(Options):
    """A grid file."""

    name: _Name
    """Name of the ablation; follows the name of the base recipe."""

    base: Path
    """Base recipe, relative to the grid file."""

    base_set: tuple[str, ...] = ()
    """Changes to the base recipe that the file names; another one, given by `--base`, stays as it is."""

    seeds: tuple[_Seed, ...] = Field(default=(0, 1, 2), min_length=1)
    """Seeds to train every variant with."""

    reference: str
    """Variant that the others are compared with."""

    train_sizes: tuple[_Size, ...] = ()
    """Numbers of training images, ascending, for a learning curve; by default all images are used."""

    metric: str | None = None
    """Metric of the comparison; by default the first metric of the recipe that all variants have."""

    split: str | None = None
    """Split to score; by default the first one that the recipe evaluates."""

    set: tuple[str, ...] = ()
    """Changes to the recipe for all variants; each variant's own come after."""

    variants: dict[_Name, VariantOptions] = Field(min_length=2)
    """Variants by name."""

    @field_validator("train_sizes")
    @classmethod
    def _sizes_ascend(cls, sizes: tuple[int, ...]) -> tuple[int, ...]:
        if list(sizes) != sorted(set(sizes)):
            raise ValueError("name each number of training images once, in ascending order")
        return sizes

    @model_validator(mode="after")
    def _sizes_are_of_all_images(self) -> Self:
        shares = [name for name, variant in self.variants.items() if variant.train_share < 1]
        if self.train_sizes and shares:
            raise ValueError(f"train_sizes and the train_share of variant {shares[0]!r} exclude each other")
        return self

    @model_validator(mode="after")
    def _reference_is_a_variant(self) -> Self:
        if self.reference not in self.variants:
            raise ValueError(f"the reference {self.reference!r} is not among the variants")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One variant of the base recipe: a row of the results."""

    name: str
    overrides: tuple[str, ...] = ()
    texts: TextControl | None = None
    scored_texts: ScoredTexts | None = None
    train_share: float = 1.0

    def to_json(self) -> dict[str, Any]:
        """The controls, which the recipe does not record."""
        controls: dict[str, Any] = {"texts": self.texts, "train_share": self.train_share}
        # Present only if used, so that runs finished before this control existed still count as finished.
        return controls if self.scored_texts is None else {**controls, "scored_texts": self.scored_texts}


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A base recipe and its variants.

    Attributes:
        table: The base recipe as parsed TOML.
        where: The source of the table, for error messages.
        overrides: Changes to the recipe for all variants, before each variant's own.
        train_sizes: Numbers of training images, ascending; empty to train on all of them.
    """

    name: str
    table: Mapping[str, Any]
    where: str
    variants: tuple[Variant, ...]
    seeds: tuple[int, ...]
    reference: str
    metric: str | None = None
    split: str | None = None
    overrides: tuple[str, ...] = ()
    train_sizes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if len(set(self.seeds)) < len(self.seeds) or not self.seeds:
            raise ConfigError(f"seeds {list(self.seeds)} are not distinct", hint="name each seed once")
        plain_name(self.name, f"{self.where}: the name of the ablation", error=ConfigError)
        for variant in self.variants:
            plain_name(variant.name, f"{self.where}: the variant", error=ConfigError)

    @property
    def reference_variant(self) -> Variant:
        """The variant that the others are compared with."""
        return self.variant(self.reference)

    @property
    def reference_recipe(self) -> Recipe:
        """The recipe of the reference variant, with the first seed."""
        return self.recipe(self.reference_variant)

    def variant(self, name: str) -> Variant:
        """The variant of this name; raises UnknownNameError if there is none."""
        variants = {variant.name: variant for variant in self.variants}
        if name not in variants:
            raise unknown_name("variant", name, variants)
        return variants[name]

    def recipe(self, variant: Variant, seed: int | None = None, train_size: int | None = None) -> Recipe:
        """The recipe of a variant with a seed, the first by default; a ConfigError names the variant.

        The number of training images enters the name only, so that comparisons distinguish sizes.
        """
        name = variant.name if train_size is None else f"{variant.name}-{train_size}"
        own = (f"name={name}", f"train.seed={self.seeds[0] if seed is None else seed}")
        overrides = (*self.overrides, *variant.overrides, *own)
        return parse_recipe(self.table, overrides, where=f"{self.where}, variant {variant.name}")


def load_grid(
    path: Path, *, base: Path | None = None, overrides: Sequence[str] = (), seeds: Sequence[int] = ()
) -> Grid:
    """Load a grid file.

    Args:
        path: The grid file.
        base: Replaces the base recipe that the file names.
        overrides: Changes to the recipe for all variants, after the file's and before each variant's own.
        seeds: Replace the seeds that the file names.

    Raises:
        ConfigError: A file is missing or invalid.
    """
    options = GridOptions.parse(read_toml(path), where=str(path))
    recipe = base or path.parent / options.base
    table = read_toml(recipe)
    grid = Grid(
        name=f"{table.get('name', recipe.stem)}-{options.name}",
        table=table,
        where=f"{path}, {recipe.name}",
        variants=tuple(
            Variant(
                name=name,
                overrides=variant.set,
                texts=variant.texts,
                scored_texts=variant.scored_texts,
                train_share=variant.train_share,
            )
            for name, variant in options.variants.items()
        ),
        seeds=options.seeds,
        reference=options.reference,
        metric=options.metric,
        split=options.split,
        overrides=(*(options.base_set if base is None else ()), *options.set, *overrides),
        train_sizes=options.train_sizes,
    )
    return replace(grid, seeds=tuple(seeds)) if seeds else grid
