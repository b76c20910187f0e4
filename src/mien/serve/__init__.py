"""9. Predict over HTTP: people in uploaded photos are found, described and scored, in shared batches."""
