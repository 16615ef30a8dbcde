"""Pictures that are equal or look the same: how they are found, and what is told of them."""
