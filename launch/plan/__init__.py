"""Who runs where: this machine's devices, its part of the job, its processes, and their ports."""
