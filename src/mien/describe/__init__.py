"""Room 2: a vision-language model writes what it sees of a subject, and every answer is kept.

Goes in: subjects (never their labels), a prompt, a label set, a marking, an engine, a store.
Comes out: descriptions and failures in the store, under keys of everything that determined them.
Knows nothing about: data sets, targets, or what the words are used for.
"""
