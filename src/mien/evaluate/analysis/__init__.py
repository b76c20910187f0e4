"""What scores depend on: labels, groups of people, annotators."""
