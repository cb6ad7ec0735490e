"""What envkit does when the system refuses it something."""
