"""The model: image tokens and a description are fused into one vector, and classified."""
