"""Room 4: tokens of a picture and of a description are fused, and classified.

Goes in: image tokens, text ids with their mask. Comes out: a logit for each label, and valence, arousal,
dominance where asked.
Knows nothing about: pictures, words, label names, losses.
"""
