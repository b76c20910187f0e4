"""The report of a dataset audit: problems, statistics, agreement, boxes and near-duplicates."""
