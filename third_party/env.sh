# shellcheck shell=bash
# Exports the CGO settings for plain go build, go test and editors:
#
#	. third_party/env.sh
#
# For bash and zsh, from any folder. LibTorch must be present (see libtorch.sh);
# otherwise this prints one line, returns 1 and exports nothing.
#
# No path below depends on the checkout, and the folder of what fits gotch to this
# LibTorch is named after its content, so that the Go build cache keeps the slow
# C++ of gotch across clones and rebuilds it when that changes.

mvag_env() {
	local here lt cache sum fit tmp name
	if [ -n "${BASH_VERSION:-}" ]; then
		here=${BASH_SOURCE[0]}
	else
		eval 'here=${(%):-%x}' # the same in zsh, which bash cannot parse
	fi
	here=$(cd "$(dirname "$here")" && pwd) || return 1
	lt=$("$here/libtorch.sh" --print) || return 1

	cache=${MVAG_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/mvag-torch}
	sum=$(cat "$here/gotch_compat.h" "$here/gotch.specs" | sha256sum) || return 1
	fit=$cache/gotch-$(printf %.12s "$sum")
	if [ ! -d "$fit" ]; then
		mkdir -p "$cache" && tmp=$(mktemp -d "$fit.XXXXXX") && mkdir "$tmp/stubs" && chmod 755 "$tmp" || return 1
		cp "$here/gotch_compat.h" "$here/gotch.specs" "$tmp/" || return 1
		# gotch links all of these. Empty linker scripts satisfy it: libtorch_cpu and
		# libc10 are enough, and CUDA is opened at run time.
		for name in torch torch_cuda c10_cuda cuda cudart cublas cudnn \
			caffe2_nvrtc nvrtc-builtins nvrtc nvToolsExt; do
			echo '/* empty */' >"$tmp/stubs/lib$name.so" || return 1
		done
		# Another shell may have been faster; its folder is the same.
		mv -T "$tmp" "$fit" 2>/dev/null || rm -rf "$tmp"
	fi

	export CGO_ENABLED=1
	export CGO_CXXFLAGS="'-specs=$fit/gotch.specs' -include '$fit/gotch_compat.h' '-I$lt/include' '-I$lt/include/torch/csrc/api/include' -O2 -w"
	# LibTorch's threads wait actively for each other, but not so long that two
	# programs slow each other down (as in internal/libtorch).
	[ -n "${OMP_WAIT_POLICY:-}" ] || export GOMP_SPINCOUNT=${GOMP_SPINCOUNT:-20000}
	export CGO_LDFLAGS="'-L$fit/stubs' '-L$lt/lib' '-Wl,-rpath,$lt/lib' -Wl,--no-as-needed"
}

mvag_env
