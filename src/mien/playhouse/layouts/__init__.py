"""Playhouse written to disk in the layouts of EMOTIC, CAER-S and BoLD."""
