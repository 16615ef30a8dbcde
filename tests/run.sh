#!/usr/bin/env bash
# Runs the tests: bash tests/run.sh [arguments of pytest]
# Three at a time (many wait for processes more than they compute); one at a time with -n 0. The tests
# of a file stay together, as they share what is expensive.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PYTHON="$(bash launch/setup.sh --test)"
exec "$PYTHON" -m pytest -n 3 --dist loadfile --no-loadscope-reorder "$@"
