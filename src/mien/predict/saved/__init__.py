"""Models that are handed over: one folder with all that predicting needs, and the Hugging Face Hub."""
