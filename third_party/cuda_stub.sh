#!/usr/bin/env bash
# cuda_stub.sh SITE COMMAND…
#
# Runs a command with LibTorch's CUDA libraries in SITE (a folder with torch and
# nvidia, such as a Python's site-packages) on a stub CUDA runtime, driver, cuBLAS
# and NCCL that need no GPU (third_party/cuda_stub). So the calls, their types and
# shapes, and that nothing waits for the device while a graph is captured, can be
# tested anywhere. Needs g++ and nm.
set -euo pipefail

[ $# -ge 2 ] && [ -e "$1/torch/lib/libtorch_cuda.so" ] || {
	echo "cuda_stub: want SITE COMMAND…, SITE with torch/lib/libtorch_cuda.so" >&2
	exit 2
}
site=$(cd "$1" && pwd)
shift
source=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/cuda_stub
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT

# stub builds library $1 from the C or C++ file $2. Those of the symbols $3 that the
# file does not define return 0; a matrix multiplication counts as a kernel.
stub() {
	local name
	g++ -w -O1 -fPIC -x "$(case $2 in *.cpp) echo c++ ;; *) echo c ;; esac)" -I"$source/include" -I"$site/nvidia/cu13/include" -c "$source/$2" -o "$made/$2.o"
	{
		echo 'int mvag_stub_nothing(void) { return 0; } int mvag_stub_matmul(void);'
		comm -23 <(sort -u <<<"$3") <(nm "$made/$2.o" | awk '$2 == "T" { print $3 }' | sort) | while read -r name; do
			case $name in
			'') ;;
			*[gG]emm*) echo "int $name(void) { return mvag_stub_matmul(); }" ;;
			*) echo "int $name(void) __attribute__((alias(\"mvag_stub_nothing\")));" ;;
			esac
		done
	} >"$made/rest.c"
	echo "$1 { global: cu*; __cu*; nccl*; mvag_stub_*; local: *; };" >"$made/version"
	gcc -w -c -fPIC "$made/rest.c" -o "$made/rest.o"
	g++ -shared "$made/$2.o" "$made/rest.o" -o "$made/$1" -ldl \
		-Wl,-soname,"$1" -Wl,--version-script="$made/version"
}
exported() { nm -D --defined-only "$site/nvidia/$1" | awk '$2 ~ /[TW]/ && $3 ~ /^(cu|__cu|nccl)/ { sub("@.*", "", $3); print $3 }'; }

stub libcudart.so.13 cudart.c "$(exported cu13/lib/libcudart.so.13)"
stub libcublasLt.so.13 cublas.c "$(exported cu13/lib/libcublasLt.so.13)"
stub libcublas.so.13 cublas.c "$(exported cu13/lib/libcublas.so.13)"
stub libnccl.so.2 nccl.c "$(exported nccl/lib/libnccl.so.2)"
stub libcuda.so.1 driver.cpp "$(nm -D --undefined-only "$site/torch/lib/libcaffe2_nvrtc.so" | awk '$2 ~ /^cu/ { print $2 }')
cuInit"

export LD_LIBRARY_PATH=$site/torch/lib
export LD_PRELOAD="$made/libcudart.so.13 $made/libcublasLt.so.13 $made/libcublas.so.13 $made/libnccl.so.2 $made/libcuda.so.1"
"$@"
