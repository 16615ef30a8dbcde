#!/usr/bin/env bash
# Trains on all devices of this machine: the 8 NPUs of a server, or the cores of a CPU machine.
set -euo pipefail
# shellcheck source=launch/start.sh
source "$(dirname "${BASH_SOURCE[0]}")/start.sh"

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
    usage run_distribute_8p.sh "Trains with one process per NPU, or per core where there is no NPU
(at most 8); nproc=N chooses another number."
    exit 0
fi
start_training launch "$@"
