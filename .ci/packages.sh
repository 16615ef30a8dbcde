#!/usr/bin/env bash
# Installs the Debian packages that tests of real parts need: bash .ci/packages.sh
# Where it cannot (no root, no apt, no network) it says so and succeeds: those tests skip, and say why.
set -euo pipefail

# A program of each package, and the package.
#   slurmctld slurmd munged   the tests of launch/slurm.sbatch run a Slurm of their own
#   mpirun                    tests under OpenMPI; mpi4py loads its library
#   ip pgrep                  several nodes as network namespaces; looking for orphans
#   chromium                  pages that we make, looked at as a browser shows them
needed=(
    slurmctld:slurm-wlm slurmd:slurm-wlm munged:munge
    mpirun:openmpi-bin
    ip:iproute2 pgrep:procps
    chromium:chromium
)

say() { printf 'packages: %s\n' "$*" >&2; }

missing() {
    local entry
    # Daemons are in sbin, which is not on everyone's path.
    for entry in "${needed[@]}"; do
        PATH=$PATH:/usr/sbin:/sbin command -v "${entry%%:*}" >/dev/null || echo "${entry#*:}"
    done | sort -u
}

install() {
    # Installing a package must neither ask nor start a service.
    apt-get update -qq &&
        DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
            apt-get install -qq --yes --no-install-recommends "$@" >/dev/null
}

mapfile -t packages < <(missing)
[[ ${#packages[@]} -gt 0 ]] || exit 0
if [[ $(id -u) -ne 0 ]] || ! command -v apt-get >/dev/null; then
    say "not installed, and only root with apt can: ${packages[*]}; tests that need them will skip"
    exit 0
fi
say "installing ${packages[*]} ..."
# Mirrors fail now and then.
if ! install "${packages[@]}" && { sleep 5; ! install "${packages[@]}"; }; then
    say "could not install ${packages[*]} (see above); tests that need them will skip"
fi
