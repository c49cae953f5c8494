"""The public door of the mesh: HTTP in, authentication, and calls to the services."""
