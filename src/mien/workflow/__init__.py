"""The steps of the method in order, as a recipe asks for them."""
