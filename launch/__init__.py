"""Starts one training job as a set of processes, one per device, and watches over it.

Nothing here imports MindSpore (but :mod:`launch.scheduler`, which runs as its own process),
so that a launcher starts at once and stays small beside its workers.
"""
