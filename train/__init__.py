"""The training job: one process is one replica of the multi-task network."""

# That of CITATION.cff, which is not installed with the project.
__version__ = "0.1.0"
