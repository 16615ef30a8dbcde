"""The package that MindSpore looks for before it uses HCCL."""

__version__ = "9.1.0"
