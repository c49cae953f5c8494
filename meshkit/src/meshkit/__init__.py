"""The runtime library that every process of Inference Mesh imports."""
