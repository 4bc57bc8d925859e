#!/usr/bin/env bash
# Measures on a machine with an NVIDIA GPU what no other can, in steps of which each leaves a log in OUT:
#
#	make build gpu-tests                            # where Go is
#	PYTHON=python3 third_party/gpu.sh OUT [STEP…]   # where the GPU is; needs no Go
#
# PYTHON has torch 2.11.0 for CUDA; its LibTorch is used. STEP is one or more of
#
#	tests      tests that use the GPU; those that are skipped are counted
#	sanitize   tests of the kernels under compute-sanitizer: memcheck, racecheck
#	speed      a training step and an object of five beside PyTorch, eager and compiled
#	predict    images a second from files to overlays, by each head, resized and in tiles
#	ablation   third_party/ablation.py with ABLATION, the arguments after "-c quickstart"
#
# or all of them. BACKBONE is a ViT-S/14 for the last two; ablation wants data/demo, unless ABLATION has another data.root.
# LIMIT is the time for each step (10m). Each step prints a line; the last line counts those that failed.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -ge 1 ] || {
	echo "gpu: want OUT [tests|sanitize|speed|predict|ablation]…" >&2
	exit 2
}
out=$1
shift
mkdir -p "$out"
out=$(cd "$out" && pwd)
python=${PYTHON:-python3} backbone=${BACKBONE:-backbones/quickstart_vits14.safetensors} limit=${LIMIT:-10m}
torch=$("$python" -c 'import torch, os; print(os.path.dirname(torch.__file__))')
export MVAG_LIBTORCH=$torch LD_LIBRARY_PATH=$torch/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader | tee "$out/gpu.txt"

tests() {
	local binary log=$out/tests.log
	rm -f "$out/tests.failed"
	for binary in "$PWD"/bin/gpu/*.test; do
		(cd "$(basename "$binary" .test | tr - /)" && "$binary" -test.run CUDA -test.v) || touch "$out/tests.failed"
	done | tee "$log"
	printf '%d passed, %d skipped, %d failed\n' "$(grep -c '^--- PASS' "$log")" "$(grep -c '^--- SKIP' "$log")" "$(grep -c '^--- FAIL' "$log")"
	grep -q '^--- PASS' "$log" && [ ! -e "$out/tests.failed" ]
}
sanitize() {
	local tool
	command -v compute-sanitizer >/dev/null || {
		echo 'compute-sanitizer is not there: want the CUDA toolkit, or the package nvidia-cuda-sanitizer-api' >&2
		return 1
	}
	for tool in memcheck racecheck; do
		(cd internal/tensor && compute-sanitizer --tool "$tool" --error-exitcode 9 ../../bin/gpu/internal-tensor.test -test.run CUDA -test.v)
	done
}
speed() {
	local what
	for what in train infer; do
		"$python" third_party/bench_compare.py --size b392 --what "$what" --device cuda --steps 30 --rounds 3 --bf16 --compiled
	done
}
predict() {
	"$python" third_party/bench_predict.py --backbone "$backbone" --out "$out/predict" --set device=cuda --set precision=bf16
}
ablation() {
	local args
	read -r -a args <<<"${ABLATION:---minutes 9}"
	"$python" third_party/ablation.py -c quickstart --out "$out/ablation" --set "backbone.weights=$backbone" --set device=cuda --set precision=bf16 \
		--set data.resize=448 --set data.crop=392 --set train.warmup=100 --set train.holdout=0.125 "${args[@]}"
}

failed=0
[ $# -gt 0 ] || set -- tests sanitize speed predict ablation
export -f tests sanitize speed predict ablation
export out python backbone
for step in "$@"; do
	began=$SECONDS result=ok
	timeout -k 30 "$limit" bash -euo pipefail -c "$step" >"$out/$step.txt" 2>&1 || { result="FAILED ($?)" failed=$((failed + 1)); }
	printf '%-9s %4d s  %s\n' "$step" $((SECONDS - began)) "$result"
done
echo "$# steps, $failed failed"
[ "$failed" = 0 ]
