"""The run folder and what is in it: checkpoints, metrics, summary; and what the terminal shows."""
