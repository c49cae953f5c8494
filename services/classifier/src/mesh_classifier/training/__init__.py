"""Trains the classifier: from the rated texts to a version in the model store."""
