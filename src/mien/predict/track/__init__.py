"""People are followed through a video: who is who across frames, and how their scores change over time."""
