"""Any engine on many workers, on one machine or a Ray cluster."""
