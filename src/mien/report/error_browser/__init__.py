"""The error browser of a page: everyone of a split, filtered by style sheets alone, without a script."""
