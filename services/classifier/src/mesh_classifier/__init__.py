"""The classifier: sentiment of texts."""
