"""A page to try the service in a browser, at /: static files, and examples from Playhouse."""
