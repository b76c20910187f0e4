"""The parts that drawings consist of: a pen, heads, items, settings and occasions."""
