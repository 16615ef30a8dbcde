"""Optimizers over one flat vector, moving average, loss scale and loss balance."""
