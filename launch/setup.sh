#!/usr/bin/env bash
# Prints the Python interpreter to use; makes .venv in the project's folder if it has to.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: bash launch/setup.sh [--test] [--ascend] [--ready | --base]

Prints the path of a Python that has the pinned requirements: python3 if it has them, or else
that of .venv in the project's folder, which is made when it is missing, half made or outdated
(once, 1-2 minutes). Builds the CPU operators of train/native where there is a C++ compiler (once,
10 seconds). Everything but that path goes to standard error:

    PYTHON="$(bash launch/setup.sh)"

  --test        with the requirements of the tests
  --ascend      with what CANN's operator compiler needs, as everywhere where CANN is found; for a
                machine with internet access that makes .venv for others
  --ready       make nothing: fail if there is something to be made
  --base        make nothing: print the Python from which .venv would be made
  MTLN_PYTHON   variable: the interpreter to use, whatever versions it has
TEXT
}

# Where the environment is empty, bash has a PATH of its own, without which Python cannot find itself.
export PATH

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 2; }

with_tests=false with_ascend=false only=
for argument in "$@"; do
    case $argument in
        --test) with_tests=true ;;
        --ascend) with_ascend=true ;;
        --ready | --base) only=$argument ;;
        -h | --help) usage; exit 0 ;;
        *) die "unexpected argument '$argument' (see launch/setup.sh --help)" ;;
    esac
done

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv
# Written last, so that a .venv without it is known to be half made.
stamp=$venv/complete
base=$root/requirements.txt ascend=$root/requirements-ascend.txt
# The tests try what is optional, too.
tests=("$root"/requirements-{test,export,predict,serve,tensorboard}.txt)
requirements=("$base")
if $with_tests; then
    requirements+=("${tests[@]}")
fi

# Where launch/environment.sh and the doctor look for CANN, and what its set_env.sh names.
for folder in "${ASCEND_HOME_PATH:-}" "${ASCEND_TOOLKIT_HOME:-}" \
    /usr/local/Ascend/cann /usr/local/Ascend/ascend-toolkit/latest; do
    if [[ -n $folder && -d $folder && -f $ascend ]]; then
        with_ascend=true
    fi
done

# Prints a Python's path if it has the requirements; fails if not, and prints what it lacks.
# MindSpore is looked up, not imported: that takes seconds.
# $1: interpreter, $2: "pinned" if MindSpore's version must be the pinned one, or "any"; the rest:
# requirement files.
has_requirements() {
    local python=$1 versions=$2
    shift 2
    "$python" - "$versions" "$venv" "$@" 2>/dev/null <<'PYTHON'
import os, re, sys
from importlib.metadata import PackageNotFoundError, version

pinned, venv, *files = sys.argv[1:]
if pinned == "pinned" and not (3, 10) <= sys.version_info[:2] <= (3, 12):
    sys.exit(1)
# An activated .venv is judged by its stamp alone: half made, it may look complete.
if pinned == "pinned" and os.path.realpath(sys.prefix) == os.path.realpath(venv):
    sys.exit(1)
missing = []
for file in files:
    for line in open(file, encoding="utf-8"):
        found = re.match(r"([A-Za-z0-9._-]+)(?:\[.*?\])?(?:==([^\s;#]+))?", line)
        if not found:
            continue
        name, wanted = found.groups()
        try:
            here = version(name).split("+")[0]
        except PackageNotFoundError:
            missing.append(name)
        else:
            if pinned == "pinned" and name == "mindspore" and here != wanted:
                missing.append(line.strip())
print(", ".join(missing) or sys.executable)
sys.exit(bool(missing))
PYTHON
}

# The line of the stamp for a requirement file.
stamp_line() { (cd "$root" && sha256sum "$(basename "$1")"); }

# What .venv's interpreter is now: the one it links to may have been replaced.
venv_version() {
    "$venv/bin/python" -ESc 'import os, sys
print("python%d.%d" % sys.version_info[:2], os.uname().machine)' 2>/dev/null
}

# Whether .venv was made from what these requirement files say now.
is_complete() {
    local file version lines
    [[ -f $stamp ]] || return 1
    lines=$'\n'$(<"$stamp")$'\n'
    version=$(venv_version) || return 1
    [[ $lines == $'\n'"$version"$'\n'* ]] || return 1
    for file in "$@"; do
        [[ $lines == *$'\n'"$(stamp_line "$file")"$'\n'* ]] || return 1
    done
}

# Prints a Python to make .venv from. Commands that exist may still fail (pyenv's shims do).
find_base() {
    local candidate found without_venv=
    for candidate in python3 python3.12 python3.11 python3.10 python; do
        # The interpreter behind it, since python3 may be that of the .venv to be removed.
        found=$("$candidate" -c 'import sys
if (3, 10) <= sys.version_info[:2] <= (3, 12): print(sys._base_executable)' 2>/dev/null) || continue
        [[ -n $found ]] || continue
        if "$found" -c 'import ensurepip, venv' 2>/dev/null; then
            printf '%s\n' "$found"
            return
        fi
        without_venv=${without_venv:-$found}
    done
    if [[ -n $without_venv ]]; then
        local name
        name=$("$without_venv" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
        die "$without_venv cannot make a virtual environment; install $name (apt install $name)"
    fi
    die "no Python 3.10, 3.11 or 3.12 found; install one (Debian, Ubuntu: apt install python3" \
        "python3-venv), or name one in MTLN_PYTHON"
}

lock() {
    exec 9>"$root/.venv.lock" || die "cannot write to $root, where .venv is to be made"
    command -v flock >/dev/null || return 0
    if ! flock --nonblock 9; then
        say "waiting for another set-up of $venv ..."
        flock 9
    fi
}

# Of what pip says, some 250 lines, those that tell what takes time.
brief() {
    local line
    while IFS= read -r line; do
        if [[ $line =~ Downloading\ ([^ ]+)\ \(([0-9]+)[0-9.]*\ MB\) && ${BASH_REMATCH[2]} -ge 20 ]]; then
            printf '  downloading %s, %s MB\n' "${BASH_REMATCH[1]%%-*}" "${BASH_REMATCH[2]}"
        elif [[ $line == "Installing collected packages:"* ]]; then
            printf '  installing\n'
        fi
    done
}

# Installs requirement files into .venv. If that fails, what was complete before is so still.
add() {
    local file before
    before=$(cat "$stamp" 2>/dev/null) || true
    # Gone meanwhile: a pip that is killed leaves packages half installed.
    rm -f "$stamp"
    if ! "$venv/bin/python" -m pip install --disable-pip-version-check \
        "${@/#/--requirement=}" 2>&1 | tee "$venv/pip.log" | brief >&2; then
        grep -v '^WARNING' "$venv/pip.log" | tail -n 12 >&2
        say "(all that pip said: $venv/pip.log)"
        [[ -z $before ]] || printf '%s\n' "$before" >"$stamp"
        return 1
    fi
    {
        printf '%s\n' "${before:-$(venv_version)}"
        for file in "$@"; do stamp_line "$file"; done
    } >"$stamp.new"
    mv "$stamp.new" "$stamp"
    say "$venv is ready"
}

install() {
    local python files=("${requirements[@]}")
    if is_complete "$base"; then
        say "adding the requirements of the tests to $venv ..."
        files=("${tests[@]}")
    else
        python=$(find_base)
        say "making $venv with $python: once, 1-2 minutes ..."
        rm -rf "$venv"
        "$python" -m venv "$venv" >&2 || die "$python cannot make a virtual environment in $venv"
    fi
    add "${files[@]}" || die "pip could not install the requirements, see above"
}

# Ends with the Python to use, $1. CANN's requirements and the CPU operators are optional: without
# them it says so in a line.
answer_with() {
    local lacking
    if [[ -n $only ]]; then
        printf '%s\n' "$1"
        exit
    fi
    if $with_ascend && ! lacking=$(has_requirements "$1" any "$ascend"); then
        say "note: $1 lacks $lacking: operators that CANN compiles at run time will fail; install" \
            "requirements-ascend.txt"
    fi
    if [[ -d $root/train/native ]]; then
        (cd "$root" && "$1" -m train.native --quiet) || true
    fi
    printf '%s\n' "$1"
    exit
}

if [[ $only == --base && -z ${MTLN_PYTHON:-} ]]; then
    find_base
    exit
fi
if [[ -n ${MTLN_PYTHON:-} ]]; then
    forced=$(command -v -- "$MTLN_PYTHON") || die "MTLN_PYTHON: $MTLN_PYTHON is no program"
    answer=$(has_requirements "$forced" any "${requirements[@]}") ||
        die "MTLN_PYTHON: $forced lacks ${answer:-a working Python}"
    answer_with "$answer"
fi
current=$(command -v python3 || command -v python || true)
if [[ -n $current ]] && answer=$(has_requirements "$current" pinned "${requirements[@]}"); then
    answer_with "$answer"
fi
if [[ -n $only ]]; then
    is_complete "${requirements[@]}" || exit 1
    answer_with "$venv/bin/python"
fi
# Another set-up may finish while this one waits for the lock.
if ! is_complete "${requirements[@]}"; then
    lock
    is_complete "${requirements[@]}" || install
fi
if $with_ascend && ! is_complete "$ascend"; then
    lock
    if ! is_complete "$ascend"; then
        say "adding what CANN's operator compiler needs to $venv ..."
        # A compute node may have no way to the package index: it does not wait long, and trains.
        PIP_RETRIES=${PIP_RETRIES:-1} PIP_TIMEOUT=${PIP_TIMEOUT:-10} add "$ascend" || true
    fi
fi
answer_with "$venv/bin/python"
