"""Images and video clips: opened safely, oriented, marked, fitted."""
