#!/usr/bin/env bash
# Says what a machine lacks, before anything is installed, and what to type next.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: bash launch/doctor.sh [options of python -m tools doctor]

Checks a machine before anything is installed: Python, compiler, disk, memory, the way to the
package index, NPUs with their driver and CANN. Says what to do about what it finds, and what to
type next. Where launch/setup.sh has been run, it hands over to: python -m tools doctor

exit code: 0, also with warnings; 1 if something fails
TEXT
}

failed=false
# $1: ok, warn or fail; $2: what was looked at; $3: what was found; $4: what to do about it.
found() {
    printf '%-5s %-9s %s\n' "$1" "$2" "$3"
    if [[ $1 != ok && -n ${4:-} ]]; then
        printf '%-15s -> %s\n' '' "$4"
    fi
    [[ $1 != fail ]] || failed=true
}

check_system() {
    local system
    system=$(uname -sm)
    case $system in
        "Linux x86_64" | "Linux aarch64") found ok system "$system" ;;
        *)
            found fail system "$system" "use Linux on x86_64 or aarch64: MindSpore 2.10 is for these"
            exit 1
            ;;
    esac
}

# Sets $python, empty if there is none to make .venv from.
check_python() {
    if python=$(bash launch/setup.sh --base 2>&1); then
        found ok Python "$("$python" -V 2>&1) ($python)"
    else
        found fail Python "none that .venv can be made from" "${python#error: }"
        python=
    fi
}

check_compiler() {
    local name
    for name in ${CXX:+"$CXX"} g++ clang++; do
        if command -v "$name" >/dev/null; then
            found ok compiler "$(command -v "$name")"
            return
        fi
    done
    found warn compiler "no g++ or clang++, so no operators of our own: training on a CPU is 2-4 \
times slower" "Debian, Ubuntu: apt install g++"
}

# $1: check, $2: GiB that there are, $3: GiB that are needed, $4: where, $5: what to do.
check_room() {
    local state=ok
    (($2 >= $3)) || state=warn
    found "$state" "$1" "$2 GiB free$4" "$3 GiB are needed: $5"
}

check_index() {
    local index answer
    [[ -n $python ]] || return 0
    index=${PIP_INDEX_URL:-$("$python" -m pip config get global.index-url 2>/dev/null || true)}
    index=${index:-https://pypi.org/simple}
    index=${index/\/\/*@/\/\/} # without a password
    if answer=$("$python" - "$index" 2>&1 <<'PYTHON'
import sys, urllib.error, urllib.request
try:
    urllib.request.urlopen(sys.argv[1].rstrip("/") + "/pip/", timeout=10).close()
except urllib.error.HTTPError as error:  # an answer, such as that a password is needed
    sys.exit(error.code >= 500 and str(error))
except (OSError, ValueError) as error:
    sys.exit(str(getattr(error, "reason", error)))
PYTHON
    ); then
        found ok index "$index"
    else
        found warn index "no answer from $index: $answer" \
            "set https_proxy, or PIP_INDEX_URL to a mirror; or copy a .venv made elsewhere"
    fi
}

check_npus() {
    local nodes=(/dev/davinci[0-9]*) folder driver cann=
    if [[ ! -e ${nodes[0]} ]]; then
        found ok NPUs "none: it trains on the CPU"
        return
    fi
    found ok NPUs "${#nodes[@]}: ${nodes[*]}"
    if driver=$(grep -m 1 -i '^version=' /usr/local/Ascend/driver/version.info 2>/dev/null); then
        found ok driver "${driver#*=}"
    else
        found fail driver "no /usr/local/Ascend/driver" "install it; in a container, pass it in: \
bash launch/run_docker.sh ascend"
    fi
    for folder in "${ASCEND_HOME_PATH:-}" "${ASCEND_TOOLKIT_HOME:-}" /usr/local/Ascend/cann \
        /usr/local/Ascend/ascend-toolkit/latest; do
        [[ -n $cann || -z $folder || ! -d $folder ]] || cann=$folder
    done
    if [[ -n $cann ]]; then
        found ok CANN "$cann"
    else
        found fail CANN "not found" "install it, or source its set_env.sh"
    fi
}

for argument in "$@"; do
    case $argument in -h | --help) usage; exit 0 ;; esac
done
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if ready=$(bash launch/setup.sh --ready 2>/dev/null); then
    # shellcheck source=launch/environment.sh
    source launch/environment.sh
    exec "$ready" -m tools doctor "$@"
fi
printf 'before set-up (bash launch/setup.sh):\n'
check_system
check_python
check_compiler
check_room disk "$(($(df -Pk . | awk 'NR == 2 { print $4 }') / 1048576))" 5 " in $PWD" \
    "make room, or put the checkout elsewhere"
check_room memory "$(($(awk '/^MemAvailable/ { print $2 }' /proc/meminfo) / 1048576))" 3 "" \
    "close other programs, or train with a smaller batch.images_per_task"
check_index
check_npus
if $failed; then
    printf 'next: do what the arrows say, then again: bash launch/doctor.sh\n'
    exit 1
fi
printf 'next: bash launch/setup.sh (once, 1-2 minutes), then again: bash launch/doctor.sh\n'
