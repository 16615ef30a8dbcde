#!/usr/bin/env bash
# What a container runs. With a CONFIG, settings, options, or nothing: trains on all its devices, as
# run_distribute_8p.sh does. With anything else: runs that as a command, with CANN known to it.
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")

case ${1:-} in
    "" | -* | *=* | *.yaml | *.yml) exec bash "$here/run_distribute_8p.sh" "$@" ;;
esac
# shellcheck source=launch/environment.sh
source "$here/environment.sh"
exec "$@"
