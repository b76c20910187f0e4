"""Playhouse: a little theatre drawn by code, where the rules that make an emotion are written down.

A test bed and a demonstration. Whatever is measured on it says nothing about real photographs.
"""
