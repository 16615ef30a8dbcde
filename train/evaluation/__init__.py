"""Evaluation of the network, exact over any number of ranks."""
