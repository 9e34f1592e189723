"""The production form in Docker: what its image, its containers and its start are made of."""
