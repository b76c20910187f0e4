"""Results become a file, in which nothing is lost or twice although the command was killed on the way."""
