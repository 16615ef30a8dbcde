# shellcheck shell=bash
# Sourced by the run_*.sh scripts beside it: finds Python and CANN, and hands over.

# Runs the launcher in place of this shell.
# $1: the launcher's module and options for it; the rest: the user's arguments.
start_training() {
    # They end no job (docs/launch/signals.md), and so early they have nothing to save or to show.
    trap '' USR1 QUIT
    local root launcher=$1 config=configs/quickstart.yaml demo=true arguments=() argument
    shift
    root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
    # Another program than training, which needs no configuration.
    for argument in "$@"; do
        [[ $argument != --tool ]] || config='' demo=false
    done
    # An argument with "=" is a setting, one with "-" an option; anything else is CONFIG.
    if [[ -n $config && $# -gt 0 && ! $1 =~ ^- ]] && [[ $1 != *=* || -f $1 ]]; then
        config=$(from_here "$1" "$root")
        [[ $config -ef $root/configs/quickstart.yaml ]] || demo=false
        shift
    fi
    for argument in "$@"; do
        case $argument in
            run_dir=?*) argument=run_dir=$(from_here "${argument#run_dir=}" "$root") ;;
            --dry-run) demo=false ;;
        esac
        arguments+=("$argument")
    done
    cd "$root" || return

    local python
    python=$(bash launch/setup.sh)
    # shellcheck source=launch/environment.sh
    source launch/environment.sh
    if $demo && [[ ! -d data/demo/records ]]; then
        # A mistake is told before anything is made.
        # shellcheck disable=SC2086
        "$python" -m $launcher "$config" ${arguments[@]+"${arguments[@]}"} --dry-run >/dev/null
        "$python" -m tools demo-data
    fi
    # $launcher is a list of words.
    # shellcheck disable=SC2086
    exec "$python" -m $launcher ${config:+"$config"} ${arguments[@]+"${arguments[@]}"}
}

# Prints a path of the user's so that it still holds in the project's folder, $2.
from_here() {
    if [[ $1 == [/~]* || $1 == *:/* || $PWD == "$2" ]]; then
        printf '%s\n' "$1"
    else
        printf '%s\n' "$PWD/$1"
    fi
}

# Prints how to use the script named $1, which does what $2 says; $3: its launcher.
usage() {
    local launcher=${3:-python -m launch}
    cat <<TEXT
usage: bash launch/$1 [CONFIG] [key.sub=value ...] [options of $launcher]

$2
On a machine without the requirements it sets up .venv first (once, 1-2 minutes).

  CONFIG          configuration file; without it configs/quickstart.yaml, on demo data that
                  is generated first
  key.sub=value   a setting to use instead of the one in CONFIG
  run_dir=PATH    run folder (default: runs/NAME in the project's folder, for NAME.yaml)
  --dry-run       print who would run where with which variables, and start nothing

CONFIG and run_dir are relative to the current folder, other paths to the project's.
For the other options: $launcher --help
TEXT
}
