"""Room 3: pictures and descriptions become tokens, and the pictures' tokens are kept.

Goes in: pictures with the subject marked, texts. Comes out: image tokens of a frozen encoder, from a cache
where they were made before, or an encoder that learns, and its pictures; token ids with their mask.
Knows nothing about: labels, data sets, classifiers.
"""
