"""Images, built and run by real engines."""
