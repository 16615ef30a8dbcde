"""The other ranks: place of this process among them, and the collective operations."""
