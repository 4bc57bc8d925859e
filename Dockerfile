# docker build -t mvag-torch .
# docker run --rm --gpus all --user "$(id -u):$(id -g)" -v "$PWD:/workspace" mvag-torch train -c realiad.yaml
#
# Without --gpus the same image runs on the processor.

FROM golang:1.26-bookworm AS build
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN apt-get update && \
    apt-get install --yes --no-install-recommends python3-pip && \
    rm -rf /var/lib/apt/lists/*
# The program finds LibTorch by this path, so it is the same in both stages.
ENV MVAG_CACHE=/opt/mvag-torch
WORKDIR /src
# From what changes seldom to what changes often: LibTorch, gotch, the program.
COPY third_party/libtorch.sh third_party/wheels-cpu.txt third_party/wheels-cuda.txt third_party/
RUN third_party/libtorch.sh --cuda
COPY go.mod go.sum ./
COPY third_party third_party
RUN . third_party/env.sh && go build github.com/sugarme/gotch/libtch
COPY . .
RUN make
# What runs needs the shared libraries alone.
RUN rm -r "$MVAG_CACHE"/gotch-* && \
    find "$MVAG_CACHE" -type f ! -name '*.so' ! -name '*.so.*' ! -name version.py -delete && \
    find "$MVAG_CACHE" -type d -empty -delete

FROM debian:bookworm-slim
COPY --from=build /opt/mvag-torch /opt/mvag-torch
COPY --from=build /src/bin/mvag-torch /usr/local/bin/mvag-torch
RUN useradd --uid 1000 --create-home --home-dir /workspace mvag
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 1000:1000
WORKDIR /workspace
ENTRYPOINT ["mvag-torch"]
