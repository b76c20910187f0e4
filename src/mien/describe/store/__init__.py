"""The SQLite file of descriptions, and what reads and writes it."""
