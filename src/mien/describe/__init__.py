"""Stage 1: a vision-language model describes subjects, and a store keeps every description.

Takes subjects, which have no labels, so that an answer cannot leak into a description.
"""
