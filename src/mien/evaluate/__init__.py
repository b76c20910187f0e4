"""Scores, with uncertainty: how well a run's answers agree with what annotators saw."""
