# Training on the processor of any machine. Build: docker build -t mtln .
# Run:  docker run --rm -it -v "$PWD/runs:/mtln/runs" -v "$PWD/data:/mtln/data" mtln
ARG BASE=python:3.11-slim
FROM ${BASE}

# libgomp1: MindSpore's libraries link to it. OpenMPI: mpi4py loads its library at run time.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 openmpi-bin \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /mtln
COPY requirements.txt .
RUN pip install --no-cache-dir --requirement requirements.txt
COPY . .
# exec form: TERM of `docker stop` reaches the launcher.
ENTRYPOINT ["bash", "launch/run_distribute_8p.sh"]
