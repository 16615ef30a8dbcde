"""python -m tools predict: puts a trained network to use."""
