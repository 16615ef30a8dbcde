"""The configuration of a run: its schema, and how a file and the command line are read into it."""
