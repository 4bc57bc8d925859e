# Targets for people and for .ci/run; `make help` lists them. LibTorch is
# fetched on first use (third_party/libtorch.sh), nothing else need be set up.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
export MVAG_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/mvag-torch

# The go command with the settings for LibTorch.
GO := . third_party/env.sh && go
VERSION ?= $(or $(shell git describe --tags --always --dirty 2>/dev/null),development)
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
LINTERS := $(MVAG_CACHE)/lint-$(shell sha256sum third_party/lint.txt | cut -c -12)
PYTHON := $(MVAG_CACHE)/python-$(shell { cat third_party/export_requirements.txt; python3 --version; } | sha256sum | cut -c -12)
BACKBONE := backbones/quickstart_vits14.safetensors

.PHONY: build quickstart test parity python lint bench release clean help libtorch

build: libtorch ## compile bin/mvag-torch (the default target)
	@$(GO) build -ldflags '-s -w -X main.version=$(VERSION)' -o bin/mvag-torch-core ./cmd/mvag-torch
	@built=$$(third_party/libtorch.sh --print); CGO_ENABLED=0 go build -o bin/mvag-torch \
		-ldflags "-s -w -X main.version=$(VERSION) -X 'main.built=$$built'" ./cmd/launch

quickstart: build ## fetch a backbone, render a small data set, train on it and evaluate
	mkdir -p backbones
	onnx=$$(third_party/quickstart_backbone.sh); bin/mvag-torch backbone convert "$$onnx" $(BACKBONE)
	bin/mvag-torch dataset demo data/demo
	bin/mvag-torch train -c quickstart --resume
	bin/mvag-torch eval -m runs/quickstart/checkpoint.safetensors

test: libtorch ## run all tests
	@$(GO) test -timeout 30m ./...

parity: libtorch python ## compare encoder and exporter with timm itself, in a Python that is fetched (600 MB)
	@export MVAG_PYTHON=python3 PYTHONPATH="$(PYTHON)"; $(GO) test -timeout 30m -run Python ./model

lint: libtorch ## check form and common faults of Go, shell and Python files
	@bad=$$(gofmt -l .); [ -z "$$bad" ] || { echo "gofmt -w wanted for:" $$bad >&2; exit 1; }
	@$(GO) vet ./...
	@$(GO) run $(STATICCHECK) ./...
	@[ -d "$(LINTERS)" ] || { \
		new=$$(mktemp -d "$(LINTERS).XXXXXX"); \
		python3 -m pip install --quiet --no-deps --require-hashes --target "$$new" -r third_party/lint.txt; \
		mv -T "$$new" "$(LINTERS)"; }
	@"$(LINTERS)/bin/shellcheck" .ci/run third_party/*.sh
	@"$(LINTERS)/bin/hadolint" Dockerfile
	@python3 -c 'import ast, sys; [ast.parse(open(f).read(), f) for f in sys.argv[1:]]' third_party/*.py

bench: libtorch ## run all benchmarks
	@$(GO) test -timeout 60m -run '^$$' -bench . -benchmem ./...

release: libtorch ## pack dist/mvag-torch-VERSION-linux-x86_64.tar.gz, which needs neither Go nor Python
	@VERSION=$(VERSION) third_party/release.sh

clean: ## remove what build and release made; data, backbones and runs stay
	rm -rf bin dist

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# timm and what it needs, for python3 as it is; the folder appears when it is whole.
python:
	@[ -d "$(PYTHON)" ] || { \
		mkdir -p "$(MVAG_CACHE)"; new=$$(mktemp -d "$(PYTHON).XXXXXX"); \
		python3 -m pip install --quiet --no-deps --only-binary=:all: --require-hashes --target "$$new" -r third_party/export_requirements.txt; \
		mv -T "$$new" "$(PYTHON)"; }

libtorch:
	@third_party/libtorch.sh
