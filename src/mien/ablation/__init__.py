"""Ablations: one recipe in several variants and seeds, in one command, compared by paired differences."""
