"""Batches of tensors from samples, features and token ids, for training, evaluation and prediction."""
