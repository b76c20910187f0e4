"""EMOTIC: 26 labels and valence, arousal, dominance for people in photos."""
