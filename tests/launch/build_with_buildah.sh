#!/usr/bin/env bash
# Builds an image of the Dockerfile where there is no container engine and no registry:
#   bash tests/launch/build_with_buildah.sh [cpu|gpu|serve] [WORK_FOLDER]
# Needs root on Debian 12 (its Python is 3.11, as in the real base) with buildah and debootstrap, a
# package mirror and a package index. Not run in CI: 5 minutes, 4 GB (gpu: 8 minutes, 10 GB).
# Then, for instance:
#   export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot
#   container=$(buildah from localhost/mtln:cpu)
#   buildah run "$container" -- bash /mtln/launch/entrypoint.sh python3 -m tools doctor
#   buildah run "$container" -- tini -s -- bash /mtln/launch/entrypoint.sh schedule.steps=20
set -euo pipefail
target=${1:-cpu}
work=${2:-$(mktemp -d)}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
base=localhost/python:3.11-slim-bookworm
# No user namespaces, no overlay: works inside a container too.
export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot

if ! buildah inspect --type image "$base" >/dev/null 2>&1; then
    packages=python3,python3-venv,python3-pip,ca-certificates
    debootstrap --variant=minbase --include="$packages" bookworm "$work/base"
    # The image that this stands in for lets pip install into its Python.
    rm "$work/base/usr/lib/python3.11/EXTERNALLY-MANAGED"
    container=$(buildah from scratch)
    buildah copy --quiet "$container" "$work/base" /
    buildah config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        "$container"
    buildah commit --quiet "$container" "$base"
    buildah rm "$container" >/dev/null
fi
# This machine's certificates and pip settings, where it has some. Docker's format keeps HEALTHCHECK.
mounts=(-v /etc/ssl/certs:/etc/ssl/certs:ro)
[[ ! -f /etc/pip.conf ]] || mounts+=(-v /etc/pip.conf:/etc/pip.conf:ro)
buildah bud --format docker --layers "${mounts[@]}" --build-arg "PYTHON_IMAGE=$base" \
    --target "$target" --tag "localhost/mtln:$target" "$root"
