"""What is checked before anything starts, and the limits of this machine that it goes by."""
