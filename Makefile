# Targets for people and for .ci/run; `make help` lists them. LibTorch is
# downloaded on first use (third_party/libtorch.sh); nothing else is needed.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
export MVAG_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/mvag-torch

# The go command with the settings for LibTorch.
GO := . third_party/env.sh && go
# make TAGS=libjpeg decodes JPEGs with libjpeg-turbo (docs/datasets.md). If
# pkg-config finds it, make test and make lint check that code, too.
TAGS ?=
JPEG := $(shell pkg-config --exists libjpeg 2>/dev/null && echo libjpeg)
# Only for comparisons in benchmarks: a Python with torch, torchvision and Pillow.
PYTHON ?= python3
# What make fuzz and make sanitize run.
FUZZ ?=
SANITIZE ?= -short ./internal/tensor ./model ./train
export FUZZTIME FUZZMEMORY
VERSION ?= $(or $(shell git describe --tags --always --dirty 2>/dev/null),development)
# Go programs that check this one, of the versions and hashes in third_party/tools.mod and tools.sum.
TOOL := run -modfile=third_party/tools.mod
LINTERS := $(MVAG_CACHE)/lint-$(shell sha256sum third_party/lint.txt | cut -c -12)
REFERENCE := $(addprefix third_party/,export_requirements.txt metrics_requirements.txt wheels-cuda.txt)
PACKAGES := $(MVAG_CACHE)/python-$(shell { cat $(REFERENCE); python3 --version; } | sha256sum | cut -c -12)
RUNTIMES := $(MVAG_CACHE)/onnx-$(shell { cat third_party/onnx_requirements.txt; python3 --version; } | sha256sum | cut -c -12)
CLIENT := $(MVAG_CACHE)/infer-$(shell { cat third_party/infer_requirements.txt; python3 --version; } | sha256sum | cut -c -12)
FAULTY := $(addprefix ./,internal/atomicfile model/checkpoint dataset train/feature eval serve/journal cmd/mvag-torch)
BACKBONE := backbones/quickstart_vits14.safetensors

BENCH_IMAGES ?= 3800
BENCH_MAPS ?= data/bench-metrics
BENCH_OPTIONS ?=
KILLS ?= 200

.PHONY: build quickstart test faults kill flat fuzz gpu-tests sanitize vulncheck parity dry-cuda reference runtimes client lint bench bench-compare bench-export bench-metrics release clean help libtorch

build: libtorch ## compile bin/mvag-torch (the default target)
	@$(GO) build -tags '$(TAGS)' -ldflags '-s -w -X main.version=$(VERSION)' -o bin/mvag-torch-core ./cmd/mvag-torch
	@built=$$(third_party/libtorch.sh --print); CGO_ENABLED=0 go build -o bin/mvag-torch \
		-ldflags "-s -w -X main.version=$(VERSION) -X 'main.built=$$built'" ./cmd/launch

quickstart: build ## download a backbone, render a small data set, remember its good parts and evaluate
	@mkdir -p backbones
	@onnx=$$(third_party/quickstart_backbone.sh); bin/mvag-torch backbone convert "$$onnx" $(BACKBONE)
	bin/mvag-torch dataset demo data/demo
	[ -e runs/quickstart/checkpoint.safetensors ] || bin/mvag-torch enroll -c quickstart
	bin/mvag-torch eval -m runs/quickstart/checkpoint.safetensors
	@echo; echo 'Next, judge images with it:'
	@echo '  bin/mvag-torch predict -m runs/quickstart/checkpoint.safetensors data/demo/realiad_demo/*/NG -o out'

test: libtorch ## run all tests
	@$(GO) test -timeout 30m -tags '$(TAGS)' ./...
	@[ -z "$(JPEG)" ] || $(GO) test -tags $(JPEG) ./dataset ./internal/libjpeg

faults: libtorch ## the long form of the tests of failing disks: each call with each error, each bit of files; full disks for root
	@export MVAG_FAULTS=all; $(GO) test -timeout 120m -count 1 -v -run 'Fault|Lies|EachBit|Flipped|FullDisk|ReadOnly' $(FAULTY) | tee /dev/stderr | awk '/ injected, .* lost$$/ { \
		for (i = 2; i <= NF; i++) { sub(/,/, "", $$i); sum[$$i] += $$(i-1) } } END { \
		printf "faults: %d injected, %d refused, %d repaired, %d lost\n", sum["injected"], sum["refused"], sum["repaired"], sum["lost"] }'

kill: libtorch ## kill commands at 200 instants and more, and compare what the next start makes of it (KILLS; strace)
	@export MVAG_KILLS=$(KILLS); $(GO) test -timeout 180m -count 1 -v -run 'TestKills$$' ./cmd/mvag-torch

flat: libtorch ## train for 2,000 steps, three times, and serve 2,000 objects, and print the handles, goroutines, threads, memory and tensors on the way
	@export MVAG_TEST_FLAT=2000; $(GO) test -timeout 60m -count 1 -v -run 'TestNothingLeaksIn(Steps|Service)$$' ./train ./serve

fuzz: libtorch ## fuzz each reader of files and requests, FUZZTIME (10m) a target, FUZZ a filter such as 'dataset|FuzzOpen'
	@third_party/fuzz.sh '$(FUZZ)'

gpu-tests: libtorch ## compile the tests that use a GPU, for third_party/gpu.sh on a machine without Go
	@mkdir -p bin/gpu; for package in internal/tensor internal/team model train; do $(GO) test -c -o bin/gpu/$${package//\//-}.test ./$$package; done

sanitize: libtorch ## run tests of SANITIZE with address and undefined-behaviour sanitizers in all C++ but LibTorch's
	@third_party/sanitize.sh $(SANITIZE)

vulncheck: libtorch ## compare what is called with Go's vulnerability database, where that can be reached
	@third_party/vulncheck.sh

parity: libtorch reference runtimes client ## compare encoder, metrics, exported files, the service and, as root, ranks on two nodes with timm, scikit-learn, ONNX Runtime, OpenVINO, Triton's client and torchrun, which are downloaded (4 GB)
	@export MVAG_PYTHON=python3 PYTHONPATH="$(CLIENT):$(RUNTIMES):$(PACKAGES)"; $(GO) test -timeout 30m -run Python ./model ./model/calibration ./eval/score ./internal/onnx ./internal/safetensors ./serve/api ./cmd/mvag-torch

dry-cuda: libtorch reference ## compile the kernels for all GPUs; train and predict with LibTorch's CUDA libraries on a stub runtime that needs none
	@$(GO) test -exec '$(CURDIR)/third_party/cuda_stub.sh $(PACKAGES)' -run CUDA ./internal/tensor ./internal/team ./model ./train

lint: libtorch ## check formatting and common faults of Go, shell and Python files
	@bad=$$(gofmt -l .); [ -z "$$bad" ] || { echo "gofmt -w wanted for:" $$bad >&2; exit 1; }
	@$(GO) vet ./...
	@$(GO) $(TOOL) honnef.co/go/tools/cmd/staticcheck ./...
	@[ -z "$(JPEG)" ] || $(GO) vet -tags $(JPEG) ./dataset ./internal/libjpeg
	@[ -d "$(LINTERS)" ] || { \
		new=$$(mktemp -d "$(LINTERS).XXXXXX"); \
		python3 -m pip install --quiet --no-deps --require-hashes --target "$$new" -r third_party/lint.txt; \
		mv -T "$$new" "$(LINTERS)" 2>/dev/null || [ -d "$(LINTERS)" ] && rm -rf "$$new"; }
	@"$(LINTERS)/bin/shellcheck" .ci/run third_party/*.sh
	@"$(LINTERS)/bin/hadolint" Dockerfile
	@PYTHONPATH="$(LINTERS)" "$(LINTERS)/bin/clang-format" --dry-run -Werror internal/tensor/*.{cpp,hpp,h,cu} third_party/cuda_stub/*.{c,cpp,h}
	@python3 -c 'import ast, sys; [ast.parse(open(f).read(), f) for f in sys.argv[1:]]' third_party/*.py export/*.py internal/onnx/testdata/*.py

bench: libtorch ## run all benchmarks
	@$(GO) test -timeout 60m -run '^$$' -bench . -benchmem ./...
	@$(PYTHON) third_party/bench_loader.py

bench-compare: build ## time training and inference beside eager PyTorch (PYTHON, a Python with torch; ARGS)
	$(PYTHON) third_party/bench_compare.py --what train $(ARGS)
	$(PYTHON) third_party/bench_compare.py --what infer $(ARGS)

bench-export: build ## time an exported model in ONNX Runtime and OpenVINO beside this program and PyTorch (PYTHON, ARGS)
	$(PYTHON) third_party/bench_export.py --size s224 $(ARGS)
	$(PYTHON) third_party/bench_export.py --size b392 $(ARGS)

bench-metrics: ## time the metrics of BENCH_IMAGES synthetic maps beside scikit-learn, Dinomaly and ADEval
	$(PYTHON) third_party/bench_metrics.py "$(BENCH_MAPS)" --images $(BENCH_IMAGES) $(BENCH_OPTIONS)
	MVAG_BENCH_MAPS="$(abspath $(BENCH_MAPS))" CGO_ENABLED=0 go test -run '^$$' -bench Class -benchtime 1x -count 5 -v ./eval/score

release: libtorch ## pack dist/mvag-torch-VERSION-linux-x86_64.tar.gz, which needs neither Go nor Python
	@VERSION=$(VERSION) third_party/release.sh

clean: ## remove the outputs of build and release; data, backbones and runs stay
	rm -rf bin dist

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# The Python packages of parity and dry-cuda, for this python3.
reference:
	@$(call packages,$(PACKAGES),$(REFERENCE))

# Those that run ONNX files, for parity alone. They use numpy and others of the packages above.
runtimes:
	@$(call packages,$(RUNTIMES),third_party/onnx_requirements.txt)

# That which asks the service, for parity alone. It uses numpy and others of the packages above.
client:
	@$(call packages,$(CLIENT),third_party/infer_requirements.txt)

# packages installs requirements into a folder, which appears when it is complete.
packages = [ -d "$(1)" ] || { \
	mkdir -p "$(MVAG_CACHE)"; new=$$(mktemp -d "$(1).XXXXXX"); \
	python3 -m pip install --quiet --no-cache-dir --no-deps --only-binary=:all: --require-hashes --target "$$new" $(2:%=-r %); \
	mv -T "$$new" "$(1)" 2>/dev/null || [ -d "$(1)" ] && rm -rf "$$new"; } # another make may have been faster

libtorch:
	@third_party/libtorch.sh
