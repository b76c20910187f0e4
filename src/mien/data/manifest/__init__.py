"""Datasets of your own: JSON Lines, CSV, Parquet, COCO JSON, or a Hugging Face folder."""
