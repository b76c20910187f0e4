"""The audit of descriptions: language, accuracy, and label leaks."""
