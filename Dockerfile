# syntax=docker/dockerfile:1
# Images for workers and drivers, on a cluster or alone:
#
#   docker build --target cpu  -t rerank-pipeline:0.1.0-cpu  .
#   docker build --target cuda -t rerank-pipeline:0.1.0-cuda .
#
# Neither holds weights: they come from a store or a mounted folder. docs/packaging.md says what each
# argument is for, how large the images are, and how to pin the base by its digest.
ARG BASE=debian:bookworm-slim
ARG EXTRAS=cluster,eval,report

# What both the build and the result need: Debian's own python3 (3.11), which Debian keeps secure.
FROM ${BASE} AS python
# rsync and openssh-client are for `ray up`, wget for KubeRay's probes. Versions are those of Debian's
# stable release, where they change for security alone.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        ca-certificates openssh-client procps python3 rsync wget \
    && rm -rf /var/lib/apt/lists/*

FROM python AS build
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/*
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PATH=/opt/rerank/bin:$PATH
WORKDIR /src
RUN python3 -m venv /opt/rerank
COPY constraints.txt ./
COPY constraints/ constraints/

FROM build AS wheel
COPY pyproject.toml setup.py MANIFEST.in README.md LICENSE CHANGELOG.md ./
COPY conf/ conf/
COPY jobs/ jobs/
COPY pipeline/ pipeline/
COPY rerank_pipeline/ rerank_pipeline/
ARG BUILD=
RUN RERANK_BUILD="$BUILD" pip wheel --no-deps --wheel-dir /dist .

# Their arguments alone differ. torch comes first: it stays in the engine's cache when code changes.
FROM build AS build-cpu
ARG CONSTRAINTS=constraints/cpu.txt
ARG TORCH_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"
RUN pip install -c "$CONSTRAINTS" $TORCH_ARGS torch
COPY --from=wheel /dist /dist
ARG EXTRAS
RUN set -- /dist/*.whl && pip install -c "$CONSTRAINTS" "${1}[$EXTRAS]" && pip check

FROM build AS build-cuda
ARG CONSTRAINTS=constraints/cuda13.txt
ARG TORCH_ARGS="--extra-index-url https://download.pytorch.org/whl/cu126"
RUN pip install -c "$CONSTRAINTS" $TORCH_ARGS torch
COPY --from=wheel /dist /dist
ARG EXTRAS
RUN set -- /dist/*.whl && pip install -c "$CONSTRAINTS" "${1}[$EXTRAS]" && pip check

# User, name and home as in Ray's own images, so that this one can stand in for them. `ray up` and
# KubeRay start Ray in login shells, whose PATH is made anew from profile.d.
FROM python AS runtime
# hadolint ignore=SC2016
RUN groupadd --gid 1000 ray \
    && useradd --uid 1000 --gid ray --create-home --shell /bin/bash ray \
    && echo 'PATH=/opt/rerank/bin:$PATH' > /etc/profile.d/rerank.sh
ENV HOME=/home/ray PATH=/opt/rerank/bin:$PATH LANG=C.UTF-8 PYTHONSAFEPATH=1 HF_HUB_OFFLINE=1 \
    RAY_USAGE_STATS_ENABLED=0
USER 1000:1000
WORKDIR /home/ray
# No entry point: Ray's launchers give a command of their own.
CMD ["rerank", "--help"]

FROM runtime AS cpu
COPY --from=build-cpu /opt/rerank /opt/rerank

FROM runtime AS cuda
# torch brings the CUDA libraries; the host's container toolkit brings the driver's.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=build-cuda /opt/rerank /opt/rerank
