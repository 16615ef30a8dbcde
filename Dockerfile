# Images for training, one target per kind of node. launch/run_docker.sh builds and starts them:
#   docker build -t mtln:cpu .                         the processor of any machine
#   docker build -t mtln:gpu --target gpu .            NVIDIA GPUs: legacy, best effort (x86_64)
#   docker build -t mtln:ascend --target ascend .      Ascend NPUs
# and one that answers for a trained network (docs/predict.md):
#   docker build -t mtln:serve --target serve .
#   docker run --rm -p 127.0.0.1:8000:8000 -v "$PWD/runs/quickstart:/model:ro" mtln:serve
# The bases are arguments. The first is pinned by the digest of its index, for x86_64 and aarch64; of
# the other none is on public record, so its tag could be moved: pin it where you build
# (docs/launch/docker.md says how to look up and renew both).
# CANN_IMAGE has to fit the NPU: 910b is for Atlas A2; other tags name 910, a3 and so on. MindSpore
# 2.10 was built with CANN 9.1 and accepts 8.2 to 9.1.
ARG PYTHON_IMAGE=python:3.11.15-slim-bookworm@sha256:d29f48a31a8b408ed19272ca1e7b10ebae13b240a27e862d3d4217c528e2e0c3
ARG CANN_IMAGE=quay.io/ascend/cann:9.1.0-910b-ubuntu22.04-py3.11

# What is ours. A change here leaves the layers with the installed packages as they are.
FROM scratch AS app
COPY . /mtln/

FROM ${PYTHON_IMAGE} AS python
# libgomp1: MindSpore links to it. OpenMPI: mpi4py loads its library; launch/run_mpi.sh. tini: as
# process 1 it passes signals on and reaps. iproute2, procps: a user's own msrun.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends iproute2 libgomp1 openmpi-bin procps tini \
    && rm -rf /var/lib/apt/lists/*
COPY requirements.txt /mtln/
RUN python3 -m pip install --no-cache-dir --requirement /mtln/requirements.txt
# Writable for all, as /tmp is: `docker run --user` may be anyone. CANN's operator compiler writes
# into the current folder, others into the home.
RUN useradd --uid 1000 --create-home mtln \
    && mkdir --parents /mtln/data /mtln/runs \
    && chmod 1777 /home/mtln /mtln /mtln/data /mtln/runs
ENV HOME=/home/mtln PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /mtln
ENTRYPOINT ["tini", "-s", "--", "bash", "/mtln/launch/entrypoint.sh"]
HEALTHCHECK --interval=5m --timeout=60s --start-period=2m \
    CMD ["bash", "/mtln/launch/entrypoint.sh", "python3", "-m", "tools", "doctor", "--quick"]

# The CPU operators; the compiler stays behind.
FROM python AS native
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends g++
COPY train /mtln/train
RUN python3 -m train.native

FROM python AS gpu
COPY requirements-gpu.txt /mtln/
RUN python3 -m pip install --no-cache-dir --requirement /mtln/requirements-gpu.txt
# The loader has to find the libraries in their wheels. MindSpore takes the version of its plugin
# from $CUDA_HOME/bin/nvcc and loads none without it; no compiler is needed, so this one only
# answers that question.
RUN packages="$(python3 -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" \
    && printf '%s\n' "$packages"/nvidia/*/lib > /etc/ld.so.conf.d/nvidia-wheels.conf \
    && ldconfig \
    && mkdir --parents /usr/local/cuda/bin \
    && printf '#!/bin/sh\necho "Cuda compilation tools, release 11.6, V11.6.124"\n' \
        > /usr/local/cuda/bin/nvcc \
    && chmod 755 /usr/local/cuda/bin/nvcc
# Read by NVIDIA's container runtime: what of the driver it mounts, and how new that has to be.
ENV CUDA_HOME=/usr/local/cuda \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    NVIDIA_REQUIRE_CUDA="cuda>=11.6"
COPY --from=app /mtln /mtln
COPY --from=native /mtln/train/native/built /mtln/train/native/built
USER 1000
VOLUME ["/mtln/data", "/mtln/runs"]

FROM ${CANN_IMAGE} AS ascend
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends iproute2 libgomp1 openmpi-bin procps tini \
    && rm -rf /var/lib/apt/lists/*
# The second file is for CANN's own Python code, which stays in CANN's folder: set_env.sh puts it on
# PYTHONPATH.
COPY requirements.txt requirements-ascend.txt /mtln/
RUN python3 -m pip install --no-cache-dir --requirement /mtln/requirements.txt \
    --requirement /mtln/requirements-ascend.txt
RUN useradd --uid 1000 --create-home mtln \
    && mkdir --parents /mtln/data /mtln/runs \
    && chmod 1777 /home/mtln /mtln /mtln/data /mtln/runs
ENV HOME=/home/mtln PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /mtln
ENTRYPOINT ["tini", "-s", "--", "bash", "/mtln/launch/entrypoint.sh"]
HEALTHCHECK --interval=5m --timeout=60s --start-period=2m \
    CMD ["bash", "/mtln/launch/entrypoint.sh", "python3", "-m", "tools", "doctor", "--quick"]
COPY --from=app /mtln /mtln
USER 1000
VOLUME ["/mtln/data", "/mtln/runs"]

FROM python AS serve
COPY requirements-serve.txt /mtln/
RUN python3 -m pip install --no-cache-dir --requirement /mtln/requirements-serve.txt
COPY --from=app /mtln /mtln
COPY --from=native /mtln/train/native/built /mtln/train/native/built
USER 1000
VOLUME ["/model"]
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=10s --start-period=1m \
    CMD ["python3", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health')"]
CMD ["python3", "-m", "tools", "serve", "/model", "--host", "0.0.0.0"]

# Last, so that it is what a build without --target makes.
FROM python AS cpu
COPY --from=app /mtln /mtln
COPY --from=native /mtln/train/native/built /mtln/train/native/built
USER 1000
VOLUME ["/mtln/data", "/mtln/runs"]
