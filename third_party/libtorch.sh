#!/usr/bin/env bash
# libtorch.sh [--cuda] [--print]
#
# Makes sure that LibTorch 2.11.0 is present: in $MVAG_CACHE (default: the user's
# cache folder), unpacked from wheels with verified hashes, or, if MVAG_LIBTORCH
# is set, in that folder (such as site-packages/torch of a Python environment),
# where only the version is checked.
#
#   --cuda   the CUDA libraries, too (about 2 GB to download; the same binary
#            works with and without)
#   --print  download nothing; print the folder with lib and include
#
# It can be interrupted and run again, and two may run at once: LibTorch gets its
# final name only when it is complete.
set -euo pipefail

version=2.11.0
# libtorch_cuda.so cannot be loaded without this library. It is moved in place last,
# so its presence means that the CUDA libraries are complete.
cuda_last=nvidia/cu13/lib/libcublas.so.13

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${MVAG_CACHE:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/mvag-torch}
dir=$cache/libtorch-$version
part=$dir.part

fail() {
	echo "libtorch: $*" >&2
	exit 1
}

# version_in prints the version of the LibTorch in folder $1, or none.
version_in() {
	if [ -e "$1/lib/libtorch_cpu.so" ] && [ -e "$1/version.py" ]; then
		sed -n "s/^__version__ = '\([^'+]*\).*/\1/p" "$1/version.py"
	else
		echo none
	fi
}

# complete says whether folder $1 has all that is requested.
complete() {
	[ "$(version_in "$1")" = "$version" ] && { [ "$cuda" = no ] || [ -e "$1/../$cuda_last" ]; }
}

# need_space fails unless $1 MB are free for the cache.
need_space() {
	local free
	free=$(df -Pm "$cache" | awk 'NR == 2 { print $4 }')
	[ "$free" -ge "$1" ] || fail "have $free MB free in $cache, want $1 MB"
}

# reason makes one line of pip's error $1.
reason() {
	local last=${1##*$'\n'}
	case $1 in
	*'No space left'*) echo "no space left in $cache" ;;
	*'Expected sha256'*)
		awk '$1 ~ /==/ { name = $1 } $1 == "Expected" { want = $3 } $1 == "Got" { have = $2 }
			END { printf "%s: sha256: have %s, want %s\n", name, have, want }' <<<"$1"
		;;
	*Retrying*) echo "the package index does not answer" ;;
	*) echo "${last#ERROR: }" ;;
	esac
}

# unpack downloads the wheels in file $1, which need $2 MB in all, and unpacks what
# is used of them into $part/tree. Complete wheels survive an interruption; pip
# verifies them again.
unpack() {
	local platforms=(--platform manylinux2014_x86_64) quiet=() wheels minor log
	wheels=$part/$(basename "$1" .txt)
	# pip takes platform tags literally, and each wheel has another one.
	for minor in {5..28}; do
		platforms+=(--platform "manylinux_2_${minor}_x86_64")
	done
	[ -t 2 ] || quiet=(--quiet)
	rm -rf "$part/tmp" "$part/tree"
	mkdir -p "$part/tmp" "$part/tree"
	need_space "$2"
	{ log=$(TMPDIR=$part/tmp python3 -m pip download "${quiet[@]}" --no-cache-dir --no-deps \
		--only-binary=:all: --python-version 3.12 --implementation cp "${platforms[@]}" \
		--require-hashes -r "$1" -d "$wheels" 2>&1 >&3); } 3>&2 ||
		fail "fetch: $(reason "$log")"
	python3 - "$wheels" "$part/tree" <<-'END'
		import os, re, sys, zipfile

		wheels, tree = sys.argv[1:]
		used = ("torch/lib/", "torch/include/", "torch/share/", "torch/version.py", "nvidia/")
		licence = re.compile(r"[^/]*\.dist-info/(.*/)?(licen[cs]e|notice|copying)[^/]*", re.I)
		for name in os.listdir(wheels):
		    try:
		        with zipfile.ZipFile(os.path.join(wheels, name)) as wheel:
		            wheel.extractall(tree, [n for n in wheel.namelist() if n.startswith(used) or licence.fullmatch(n)])
		    except (OSError, zipfile.BadZipFile) as err:
		        sys.exit(f"libtorch: unpack {name}: {err}")
	END
	sync -f "$part/tree" # so that a power failure leaves no empty files
}

fetch() {
	local system
	system=$(uname -sm)
	[ "$system" = "Linux x86_64" ] || fail "have $system, want Linux x86_64"
	python3 -m pip --version >/dev/null 2>&1 || fail "have no python3 with pip, want one to fetch wheels"
	mkdir -p "$cache"
	exec 9>"$cache/libtorch.lock"
	flock 9
	if [ "$(version_in "$dir/torch")" != "$version" ]; then
		echo "libtorch: fetching LibTorch $version (545 MB) into $dir" >&2
		unpack "$here/wheels-cpu.txt" 1700
		rm -rf "$dir"
		mv -T "$part/tree" "$dir"
	fi
	if ! complete "$dir/torch"; then
		echo "libtorch: fetching CUDA libraries (2 GB) into $dir" >&2
		unpack "$here/wheels-cuda.txt" 5000
		mv "$part/tree/$cuda_last" "$part/last"
		cp -rlf "$part/tree/." "$dir" # with the licences
		mv "$part/last" "$dir/$cuda_last"
	fi
	rm -rf "$part"
}

[[ $cache = /* ]] || fail "have MVAG_CACHE=$cache, want an absolute path"
cuda=no
print=no
for arg in "$@"; do
	case $arg in
	--cuda) cuda=yes ;;
	--print) print=yes ;;
	*) fail "have argument \"$arg\", want --cuda or --print" ;;
	esac
done

if [ -n "${MVAG_LIBTORCH:-}" ]; then
	torch=$MVAG_LIBTORCH
	[ ! -d "$torch" ] || torch=$(cd "$torch" && pwd)
else
	torch=$dir/torch
	[ "$print" = yes ] || complete "$torch" || fetch
fi
have=$(version_in "$torch")
case $have in
"$version") ;;
none) fail "have none in $torch, want $version; ${MVAG_LIBTORCH:+unset MVAG_LIBTORCH and }run third_party/libtorch.sh" ;;
*) fail "have $have in $torch, want $version" ;;
esac
[ -n "${MVAG_LIBTORCH:-}" ] || complete "$torch" ||
	fail "have no CUDA libraries in $dir, want $cuda_last; run third_party/libtorch.sh --cuda"
[ "$print" = no ] || echo "$torch"
