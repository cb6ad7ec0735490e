"""What goes into images, and how they are made."""
