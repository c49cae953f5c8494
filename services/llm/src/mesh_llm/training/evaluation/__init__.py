"""Measures a version of the model as it is served: calls, forms, and what quantisation costs."""
