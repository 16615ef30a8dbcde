#!/usr/bin/env bash
# Trains with ranks that OpenMPI's mpirun starts.
set -euo pipefail
# shellcheck source=launch/start.sh
source "$(dirname "${BASH_SOURCE[0]}")/start.sh"

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
    usage run_mpi.sh "Trains with one process per NPU, or per core where there is no NPU (at most 8), started by
OpenMPI's mpirun; nproc=N chooses another number. Options for mpirun go into the variable
MPIRUN_OPTIONS, for instance MPIRUN_OPTIONS=\"--hostfile hosts --map-by ppr:8:node:PE=4\"; they
take the place of the choice of cores made here." "python -m launch.mpi"
    exit 0
fi
start_training launch.mpi "$@"
