"""The kinds of tasks: one file per kind."""
