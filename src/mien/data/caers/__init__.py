"""CAER-S: seven labels for frames of TV shows."""
