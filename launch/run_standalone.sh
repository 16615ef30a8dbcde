#!/usr/bin/env bash
# Trains with one process, on one NPU or on the processor.
set -euo pipefail
# shellcheck source=launch/start.sh
source "$(dirname "${BASH_SOURCE[0]}")/start.sh"

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
    usage run_standalone.sh "Trains with one process, on one NPU (DEVICE_ID chooses which) or on the processor."
    exit 0
fi
start_training "launch --nproc 1" "$@"
