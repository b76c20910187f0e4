"""Features: images become tokens of a vision encoder, cached on disk, and texts become token ids."""
