"""The playground: a page on which a person tries what the mesh answers."""
