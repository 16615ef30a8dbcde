"""A trained network, put to use: found, built from its checkpoint alone, and asked."""
