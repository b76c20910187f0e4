"""Labels scored without training: by a model's answers, by its words, or by similarity of image and text."""
