"""Makes versions of the default model; an environment of its own, never imported by serving."""
