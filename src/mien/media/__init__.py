"""Images and clips: open, orient, vary, mark, fit."""
