# shellcheck shell=bash
# Sourced by the scripts beside it: makes CANN's libraries known where CANN is installed.
# Without it, or where it has been done already, this changes nothing.

_source_cann() {
    local script options
    [[ -z ${ASCEND_OPP_PATH:-} ]] || return 0
    # The place since CANN 8.5, and the one before.
    for script in /usr/local/Ascend/cann/set_env.sh /usr/local/Ascend/ascend-toolkit/set_env.sh; do
        [[ -f $script ]] || continue
        options=$(set +o)
        # CANN's script reads variables that are not set and has commands that may fail.
        set +eu
        # shellcheck disable=SC1090
        source "$script"
        eval "$options"
        return 0
    done
}
_source_cann
unset -f _source_cann
