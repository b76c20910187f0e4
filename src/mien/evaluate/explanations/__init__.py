"""Why people have their scores, as a run directory keeps it: maps, words, and what was not faithful."""
