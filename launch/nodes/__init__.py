"""Jobs of several nodes: the launcher of node 0 leads, those of the other nodes follow."""
