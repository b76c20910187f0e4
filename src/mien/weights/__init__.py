"""Models of others: their folders, the Hugging Face Hub, and limits on what a config may ask for."""
