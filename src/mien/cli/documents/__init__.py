"""What commands print with `--json`, where no other module says it: the types of these documents.

The console adds the key `schema` to each. Commands import these types for the type checker only.
"""
