"""Recipes: what one may say, and how it is read from TOML."""
