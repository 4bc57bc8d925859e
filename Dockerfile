# docker build -t mvag-torch .                              # CPU and NVIDIA GPUs
# docker build -t mvag-torch:cpu --build-arg VARIANT=cpu .  # CPU only
# docker run --rm --gpus all --user "$(id -u):$(id -g)" -v "$PWD:/workspace" mvag-torch train -c realiad.yaml
#
# See docs/container.md.

# LibTorch, from files that rarely change.
FROM debian:bookworm-slim AS libtorch
# hadolint ignore=DL3008
RUN apt-get update && \
    apt-get install --yes --no-install-recommends ca-certificates python3-pip && \
    rm -rf /var/lib/apt/lists/*
# The program is linked with this path, so it is the same in all stages.
ENV MVAG_CACHE=/opt/mvag-torch
COPY third_party/libtorch.sh third_party/wheels-cpu.txt third_party/wheels-cuda.txt /src/third_party/
ARG VARIANT=cuda
RUN case "$VARIANT" in \
        cpu) /src/third_party/libtorch.sh ;; \
        cuda) /src/third_party/libtorch.sh --cuda ;; \
        *) echo "VARIANT: have $VARIANT, want cpu or cuda" >&2; exit 1 ;; \
    esac

# What is needed at run time: shared libraries, the version, licences. The CPU
# variant has no CUDA libraries.
FROM libtorch AS libraries
ARG VARIANT=cuda
RUN find /opt/mvag-torch -type f ! -name '*.so' ! -name '*.so.*' ! -name version.py ! -path '*.dist-info/*' -delete && \
    find /opt/mvag-torch -name 'libtorch_python.so' -delete && \
    if [ "$VARIANT" = cpu ]; then \
        find /opt/mvag-torch \( -name 'libtorch_cuda*.so' -o -name libtorch_nvshmem.so -o -name 'libnvperf_*' \) -delete; \
    fi && \
    find /opt/mvag-torch -type d -empty -delete

FROM golang:1.26-bookworm AS build
ENV MVAG_CACHE=/opt/mvag-torch
COPY --from=libtorch /opt/mvag-torch /opt/mvag-torch
WORKDIR /src
# gotch's C++ takes minutes and rarely changes.
COPY go.mod go.sum ./
COPY third_party/env.sh third_party/libtorch.sh third_party/gotch_compat.h third_party/gotch.specs third_party/
RUN bash -c '. third_party/env.sh && go build github.com/sugarme/gotch/libtch'
COPY . .
ARG VERSION=development
RUN make VERSION="$VERSION"

FROM debian:bookworm-slim
RUN useradd --uid 1000 --create-home --home-dir /workspace mvag
COPY --from=libraries /opt/mvag-torch /opt/mvag-torch
COPY --from=build /src/bin/ /usr/local/bin/
ARG VARIANT=cuda
ARG VERSION=development
LABEL org.opencontainers.image.title="mvag-torch" \
      org.opencontainers.image.description="Multi-view industrial anomaly detection: MVAG-FL on LibTorch ($VARIANT)" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 1000:1000
WORKDIR /workspace
# Loads LibTorch and compares its version; mvag-torch doctor checks everything.
HEALTHCHECK --interval=5m --timeout=1m CMD ["mvag-torch", "--version"]
ENTRYPOINT ["mvag-torch"]
CMD ["--help"]
