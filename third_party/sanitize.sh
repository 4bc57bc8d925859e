#!/usr/bin/env bash
# Runs tests with AddressSanitizer and UndefinedBehaviorSanitizer in our C++, gotch's and, at their border, in Go:
#
#	third_party/sanitize.sh ./internal/tensor ./model -short
#
# LibTorch itself is not instrumented. What it does to memory of ours is seen, as its calls of memcpy and free are.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=third_party/env.sh
. third_party/env.sh
# Objects of another build have other flags, so that Go's cache keeps both. vptr compares the dynamic type of objects,
# which LibTorch's libraries do not export for all of theirs.
export CGO_CXXFLAGS="$CGO_CXXFLAGS -g1 -fno-omit-frame-pointer -fsanitize=undefined -fno-sanitize=vptr -fno-sanitize-recover=undefined"
export CGO_LDFLAGS="$CGO_LDFLAGS -fsanitize=undefined"
# Leaks are not looked for: LibTorch and Go keep memory until the process ends. Go handles its own faults. TestNoLeak
# measures the resident set, to which the sanitizer adds what it keeps aside of freed memory.
export ASAN_OPTIONS=halt_on_error=1:detect_stack_use_after_return=1:strict_string_checks=1:detect_leaks=0:handle_segv=0:quarantine_size_mb=16:allocator_may_return_null=1
export UBSAN_OPTIONS=print_stacktrace=1
exec go test -asan -skip "^TestNoLeak" -count 1 -timeout "${TIMEOUT:-60m}" "$@"
