"""Results as figures: bars, radar, valence and arousal, and time lines."""
