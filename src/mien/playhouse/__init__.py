"""Playhouse: a small drawn world with written rules for which emotions a person appears to feel.

A test bed and a demonstration. Results on it say nothing about real photographs.
"""
