"""One photo, a subject in it, and a trained run: how the subject appears to feel."""
