"""Makes versions of the model; an environment of its own, never imported by serving."""
