#!/usr/bin/env bash
# Runs the tests: bash tests/run.sh [arguments of pytest]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PYTHON="$(bash launch/setup.sh --test)"
exec "$PYTHON" -m pytest "$@"
