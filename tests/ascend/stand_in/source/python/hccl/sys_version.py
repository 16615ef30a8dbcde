"""The version that MindSpore compares with its own list."""

__sys_version__ = "9.1.0"
