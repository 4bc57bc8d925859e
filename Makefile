# Targets for people and for .ci/run; `make help` lists them. LibTorch is
# fetched on first use (third_party/libtorch.sh), nothing else need be set up.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
export MVAG_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/mvag-torch

# The go command with the settings for LibTorch.
GO := . third_party/env.sh && go
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
SHELLCHECK := $(MVAG_CACHE)/shellcheck-0.11.0.1
BACKBONE := backbones/quickstart_vits14.safetensors

.PHONY: build quickstart test lint bench clean help libtorch

build: libtorch ## compile bin/mvag-torch (the default target)
	@$(GO) build -ldflags '-s -w' -o bin/mvag-torch ./cmd/mvag-torch

quickstart: build ## fetch a backbone, render a small data set, train on it and evaluate
	mkdir -p backbones
	onnx=$$(third_party/quickstart_backbone.sh); bin/mvag-torch backbone convert "$$onnx" $(BACKBONE)
	bin/mvag-torch dataset demo data/demo
	bin/mvag-torch train -c quickstart --resume
	bin/mvag-torch eval -m runs/quickstart/checkpoint.safetensors

test: libtorch ## run all tests
	@$(GO) test -timeout 30m ./...

lint: libtorch ## check form and common faults of Go, shell and Python files
	@bad=$$(gofmt -l .); [ -z "$$bad" ] || { echo "gofmt -w wanted for:" $$bad >&2; exit 1; }
	@$(GO) vet ./...
	@$(GO) run $(STATICCHECK) ./...
	@[ -d "$(SHELLCHECK)" ] || { \
		new=$$(mktemp -d "$(SHELLCHECK).XXXXXX"); \
		python3 -m pip install --quiet --no-deps --require-hashes --target "$$new" -r third_party/lint.txt; \
		mv -T "$$new" "$(SHELLCHECK)"; }
	@"$(SHELLCHECK)/bin/shellcheck" .ci/run third_party/*.sh
	@python3 -c 'import ast, sys; [ast.parse(open(f).read(), f) for f in sys.argv[1:]]' third_party/*.py

bench: libtorch ## run all benchmarks
	@$(GO) test -timeout 60m -run '^$$' -bench . -benchmem ./...

clean: ## remove what build made; data, backbones and runs stay
	rm -rf bin

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

libtorch:
	@third_party/libtorch.sh
