"""The audit of descriptions: their language, accuracy, and leaks of the answer."""
