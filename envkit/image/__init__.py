"""Images: what goes into them, and the engines and builders that make them."""
