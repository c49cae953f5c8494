"""The shared offline part of Inference Mesh: data sources, splits and statistics."""
