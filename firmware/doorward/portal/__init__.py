"""The opening: what the door does to the world, and what the world does to the door's inputs."""
