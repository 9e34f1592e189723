"""The production form in Docker: image, containers, and the preparations of a start."""
