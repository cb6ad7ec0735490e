"""The server of the stand-in for TensorFlow Serving. It runs in the stand-in's image only."""
