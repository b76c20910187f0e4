"""BoLD: 26 labels and valence, arousal, dominance for people in clips from films."""
