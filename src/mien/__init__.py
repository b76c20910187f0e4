"""mien: how people in photographs *appear* to feel, in words and in labels.

Importing the package is cheap and loads no model library; each room is imported where it is used.
"""

__version__ = "0.1.0"

__all__ = ["__version__"]
