"""What makes an image of a Dockerfile: buildx, or the engine's own API."""
