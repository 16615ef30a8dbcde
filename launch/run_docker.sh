#!/usr/bin/env bash
# Trains in a container, with the devices of this machine.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: bash launch/run_docker.sh [--print] [--build] [cpu|gpu|ascend]
           [CONFIG] [key.sub=value ...] [options of python -m launch]
       bash launch/run_docker.sh [--print] [--build] [cpu|gpu|ascend] COMMAND ...

Trains in a container as run_distribute_8p.sh does outside, or runs COMMAND in it, for instance
python3 -m tools doctor. Without cpu, gpu or ascend it takes what the machine has. data/ and runs/
of the project's folder are those of the container; what is written belongs to you.

  --print     print the commands, run nothing
  --build     build the image even if there is one (after a change of the code)

variables:
  DOCKER               another engine: podman, nerdctl, a path (default: docker)
  DOCKER_OPTIONS       more options of `docker run`, e.g. "-v /big/records:/big/records:ro"
  MTLN_IMAGE           a ready image to use instead of mtln:cpu, mtln:gpu or mtln:ascend
  CANN_IMAGE           base of the ascend image, to fit the NPU (see Dockerfile)
  ASCEND_VISIBLE_DEVICES   NPUs to pass, by the number in /dev/davinciN: 0-3 or 0,2,5
TEXT
}

die() {
    printf 'error: %s\n' "$*" >&2
    exit 2
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
engine=${DOCKER:-docker}
# Where the machine's files are looked for: a folder, in the tests.
host=${MTLN_HOST_ROOT:-}
only_print=false
build=false
kind=
options=()
arguments=()

# Prints the numbers of the machine's NPUs. They may have gaps.
npus() {
    local node
    for node in "$host"/dev/davinci[0-9]*; do
        [[ -e $node ]] && printf '%s\n' "${node##*davinci}"
    done | sort -n
}

# Prints the numbers that ASCEND_VISIBLE_DEVICES chooses, or all.
chosen_npus() {
    local there part number
    there=$(npus)
    if [[ -z ${ASCEND_VISIBLE_DEVICES:-} ]]; then
        printf '%s\n' "$there"
        return
    fi
    for part in ${ASCEND_VISIBLE_DEVICES//,/ }; do
        [[ $part =~ ^([0-9]+)(-([0-9]+))?$ ]] ||
            die "ASCEND_VISIBLE_DEVICES is '$ASCEND_VISIBLE_DEVICES', not like 0-3 or 0,2,5"
        for number in $(seq "${BASH_REMATCH[1]}" "${BASH_REMATCH[3]:-${BASH_REMATCH[1]}}"); do
            grep -qx "$number" <<<"$there" ||
                die "ASCEND_VISIBLE_DEVICES names NPU $number; this machine has ${there//$'\n'/, }"
            printf '%s\n' "$number"
        done
    done
}

engine_info() { "$engine" info 2>/dev/null || true; }

gpus() { nvidia-smi -L 2>/dev/null || true; }

detect() {
    if [[ -n $(npus) ]]; then
        echo ascend
    elif [[ $(gpus) == GPU* ]] || engine_info | grep -qi 'runtimes:.*nvidia'; then
        echo gpu
    else
        echo cpu
    fi
}

add_ascend() {
    local number path numbers
    numbers=$(chosen_npus)
    [[ -n $numbers ]] || die "this machine has no NPU: there is no /dev/davinci0"
    for number in $numbers; do
        options+=("--device=/dev/davinci$number")
    done
    for path in davinci_manager devmm_svm hisi_hdc; do
        [[ ! -e $host/dev/$path ]] || options+=("--device=/dev/$path")
    done
    # All of driver/, not its libraries alone: hccn_tool is there.
    for path in /usr/local/Ascend/driver /usr/local/dcmi /usr/local/bin/npu-smi \
        /etc/ascend_install.info /etc/hccn.conf; do
        [[ ! -e $host$path ]] || options+=(-v "$path:$path:ro")
    done
    # The devices belong to the driver's group.
    options+=(--group-add "$(stat -c %g "$host/dev/davinci${numbers%%$'\n'*}")")
}

add_gpu() {
    [[ $(uname -m) == x86_64 ]] || die "gpu: MindSpore's GPU library exists for x86_64 only"
    case ${engine##*/} in
        podman*) options+=(--device nvidia.com/gpu=all) ;;
        *) options+=(--gpus all) ;;
    esac
}

# Files in data/ and runs/ shall belong to the caller.
add_user() {
    local rootless=false
    if engine_info | grep -qiE '^ *rootless(: true)?$'; then rootless=true; fi
    if ! $rootless; then
        options+=(--user "$(id -u):$(id -g)")
    elif [[ ${engine##*/} == podman* ]]; then
        options+=(--userns=keep-id --user "$(id -u):$(id -g)")
    else
        # There, root in the container is the caller outside.
        options+=(--user 0:0)
    fi
}

# The user's settings of the libraries. By name alone: values may be secret.
add_variables() {
    local name
    for name in $(compgen -e); do
        case $name in
            # Paths of this machine mean nothing in the container.
            MTLN_PYTHON | MTLN_IMAGE | MTLN_HOST_ROOT | AWS_CA_BUNDLE | AWS_*_FILE) ;;
            MTLN_* | MS_* | HCCL_* | GLOG_* | AWS_* | S3_* | NCCL_* | ASCEND_GLOBAL_LOG_LEVEL | \
                OMP_NUM_THREADS | ONEDNN_MAX_CPU_ISA | MPIRUN_OPTIONS | SLURM_JOB_ID)
                options+=(-e "$name")
                ;;
        esac
    done
    if [[ -n ${RANK_TABLE_FILE:-} ]]; then
        mount_same "$RANK_TABLE_FILE" ro
        options+=(-e "RANK_TABLE_FILE=$mounted")
    fi
}

# Lets a file or folder of the machine have the same path in the container; sets $mounted to it.
mount_same() {
    [[ -e $1 ]] || die "$1 does not exist"
    mounted=$(realpath -- "$1")
    [[ $mounted != *:* ]] || die "$mounted: an engine cannot mount a path with a colon"
    options+=(-v "$mounted:$mounted:$2")
}

is_job() {
    case ${1:-} in "" | -* | *=* | *.yaml | *.yml) ;; *) return 1 ;; esac
}

# Seconds from the signal of `docker stop` to the kill: longer than the launcher's own grace.
stop_seconds() {
    local grace=60 previous='' argument
    for argument in ${arguments[@]+"${arguments[@]}"}; do
        [[ $previous != --grace ]] || grace=$argument
        [[ $argument != --grace=* ]] || grace=${argument#--grace=}
        previous=$argument
    done
    grace=${grace%%.*}
    [[ $grace =~ ^[0-9]+$ ]] || die "--grace must be a number of seconds, not '$grace'"
    echo $((grace + 30))
}

has_setting() {
    local argument
    for argument in ${arguments[@]+"${arguments[@]}"}; do
        [[ $argument != "$1="* && $argument != "--$1" && $argument != "--$1="* ]] || return 0
    done
    return 1
}

# Reads CONFIG, settings and options of the launcher into $arguments; what they name is mounted.
add_job() {
    local argument previous=''
    for argument in "$@"; do
        case $previous$argument in
            --rank-table*) ;;
            *.yaml | *.yml)
                if [[ $argument != *=* ]]; then
                    [[ -f $argument ]] || die "configuration file $argument does not exist"
                    mount_same "$argument" ro
                    argument=$mounted
                fi
                ;;
            run_dir=*://*) ;;
            run_dir=?*)
                $only_print || mkdir -p -- "${argument#run_dir=}"
                mounted=$(realpath -m -- "${argument#run_dir=}")
                options+=(-v "$mounted:$mounted")
                argument=run_dir=$mounted
                ;;
        esac
        case $previous$argument in
            --rank-table=*) mount_same "${argument#*=}" ro && argument=--rank-table=$mounted ;;
            --rank-table?*) mount_same "$argument" ro && argument=$mounted ;;
        esac
        previous=
        [[ $argument != --rank-table ]] || previous=$argument
        arguments+=("$argument")
    done
    if [[ $kind == gpu ]]; then
        local count
        count=$(gpus | grep -c '^GPU') || count=1
        has_setting device || arguments+=(device=GPU)
        has_setting nproc || arguments+=("nproc=$count")
    fi
}

run() {
    if $only_print; then
        printf '%q ' "$@"
        echo
    else
        "$@"
    fi
}

while [[ $# -gt 0 ]]; do
    case $1 in
        -h | --help) usage; exit 0 ;;
        --print) only_print=true ;;
        --build) build=true ;;
        cpu | gpu | ascend) kind=$1; shift; break ;;
        *) break ;;
    esac
    shift
done
$only_print || command -v -- "$engine" >/dev/null ||
    die "$engine is not installed (DOCKER names another engine, for instance DOCKER=podman)"
kind=${kind:-$(detect)}
image=${MTLN_IMAGE:-mtln:$kind}

case $kind in ascend) add_ascend ;; gpu) add_gpu ;; esac
add_user
add_variables
if is_job "${1:-}"; then
    add_job "$@"
else
    arguments=("$@")
fi
if [[ -t 0 && -t 1 ]]; then options+=(-it); fi
for folder in data runs; do
    $only_print || mkdir -p "$root/$folder"
    options+=(-v "$root/$folder:/mtln/$folder")
done
# Host network and shared memory: the ranks of several nodes meet, and 64 MB would be too little.
options+=(--network=host --ipc=host "--stop-timeout=$(stop_seconds)")

if $build || { [[ -z ${MTLN_IMAGE:-} ]] && ! "$engine" image inspect "$image" >/dev/null 2>&1; }; then
    base=()
    if [[ -n ${CANN_IMAGE:-} ]]; then base=(--build-arg "CANN_IMAGE=$CANN_IMAGE"); fi
    run "$engine" build --target "$kind" -t "$image" ${base[@]+"${base[@]}"} "$root" >&2
fi
# DOCKER_OPTIONS is a list of words.
# shellcheck disable=SC2206
extra=(${DOCKER_OPTIONS:-})
command=("$engine" run --rm "${options[@]}" ${extra[@]+"${extra[@]}"} "$image"
    ${arguments[@]+"${arguments[@]}"})
if $only_print; then
    run "${command[@]}"
else
    exec "${command[@]}"
fi
