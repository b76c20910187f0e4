"""Room 5: weights are learned.

Goes in: a recipe, samples, their descriptions. Comes out: a folder with trained weights and what happened.
Knows nothing about: how descriptions came to be, intervals, pages.
"""
