"""What an ablation compares: a base recipe, and variants that each change something about it.

Goes in: a TOML file, as in recipes/ablations. Comes out: a `Grid`, which makes the recipe of each run.
Knows nothing about: data, models, how anything is run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, StringConstraints, model_validator

from mien.ablation.controls import ScoredTexts, TextControl
from mien.errors import ConfigError, unknown_name
from mien.recipe import Options, Recipe
from mien.recipe.load import parse_recipe, read_toml

__all__ = ["Grid", "GridOptions", "Variant", "VariantOptions", "load_grid"]

# Variants are folders.
_Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
_Seed = Annotated[int, Field(ge=0)]


class VariantOptions(Options):
    """[variants.NAME]: what `set` changes in the recipe, and controls that are no knob of one.

    `texts`: what is done to the descriptions. `scored_texts`: what to those of the scored split alone, after
    learning; "missing" takes them away. `train_share`: the share of train's pictures to learn from.
    """

    set: tuple[str, ...] = ()
    texts: TextControl | None = None
    scored_texts: ScoredTexts | None = None
    train_share: float = Field(default=1.0, gt=0, le=1)


class GridOptions(Options):
    """A grid's file. `base`: a recipe, from the folder of this file. `set`: for all variants, before theirs.

    `metric`: by which the variants are compared with the `reference`, the first that the recipe asks for by
    default; `split`: on which, the first that the recipe evaluates by default.
    """

    name: _Name
    base: Path
    seeds: tuple[_Seed, ...] = Field(default=(0, 1, 2), min_length=1)
    reference: str
    metric: str | None = None
    split: str | None = None
    set: tuple[str, ...] = ()
    variants: dict[_Name, VariantOptions] = Field(min_length=2)

    @model_validator(mode="after")
    def _refers_to_a_variant(self) -> Self:
        if self.reference not in self.variants:
            raise ValueError(f"the reference {self.reference!r} is not among the variants")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One row of the table to come."""

    name: str
    overrides: tuple[str, ...] = ()
    texts: TextControl | None = None
    scored_texts: ScoredTexts | None = None
    train_share: float = 1.0

    def to_json(self) -> dict[str, Any]:
        """What of it no recipe records."""
        found: dict[str, Any] = {"texts": self.texts, "train_share": self.train_share}
        # Named only where it is asked for: what was finished before it was known stays finished.
        return found if self.scored_texts is None else {**found, "scored_texts": self.scored_texts}


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A base recipe as a table, from `where`, and its variants; `overrides` change it for all of them."""

    name: str
    table: Mapping[str, Any]
    where: str
    variants: tuple[Variant, ...]
    seeds: tuple[int, ...]
    reference: str
    metric: str | None = None
    split: str | None = None
    overrides: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(set(self.seeds)) < len(self.seeds) or not self.seeds:
            raise ConfigError(f"seeds {list(self.seeds)} are not distinct", hint="name each seed once")

    @property
    def referred(self) -> Variant:
        """The variant that the others are compared with."""
        return self.variant(self.reference)

    def variant(self, name: str) -> Variant:
        """The variant of this name; UnknownNameError if there is none."""
        found = {one.name: one for one in self.variants}
        if name not in found:
            raise unknown_name("variant", name, found)
        return found[name]

    def recipe(self, variant: Variant, seed: int | None = None) -> Recipe:
        """The recipe of one run; ConfigError, which names the variant, if it is none."""
        own = (f"name={variant.name}", f"train.seed={self.seeds[0] if seed is None else seed}")
        given = (*self.overrides, *variant.overrides, *own)
        return parse_recipe(self.table, given, where=f"{self.where}, variant {variant.name}")


def load_grid(
    path: Path, *, base: Path | None = None, overrides: Sequence[str] = (), seeds: Sequence[int] = ()
) -> Grid:
    """The grid in a file. `base`: another recipe than the file names, and `seeds` others; `overrides`: for
    all variants, after the file's own for all and before those of each."""
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
                overrides=one.set,
                texts=one.texts,
                scored_texts=one.scored_texts,
                train_share=one.train_share,
            )
            for name, one in options.variants.items()
        ),
        seeds=options.seeds,
        reference=options.reference,
        metric=options.metric,
        split=options.split,
        overrides=(*options.set, *overrides),
    )
    return replace(grid, seeds=tuple(seeds)) if seeds else grid
