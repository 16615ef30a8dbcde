"""The compiled training step: gradient, reduction over the ranks, consolidation."""
