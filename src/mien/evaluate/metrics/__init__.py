"""Metrics, each with its chance level and bounds."""
