"""Jobs whose ranks OpenMPI's mpirun starts, watched over from outside."""
