"""Finds people in images: each is a box and a score, or the whole image is the subject."""
