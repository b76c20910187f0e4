"""CAER-S: seven classes of apparent emotion for frames of TV shows."""
