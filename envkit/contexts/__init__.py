"""Build contexts: which files of a folder an image is made from, and the archive of them."""
