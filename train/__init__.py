"""The training job: one process is one replica of the multi-task network."""
