"""Samples, features and token ids as batches of tensors, for training, evaluation and prediction."""
