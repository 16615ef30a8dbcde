"""The network: a shared branch, and one attention branch and head per task."""
