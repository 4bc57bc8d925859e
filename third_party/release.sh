#!/usr/bin/env bash
# Packs dist/mvag-torch-$VERSION-linux-x86_64.tar.gz: the program, the LibTorch
# libraries that it loads on a CPU, their licences, shell completions and the man
# page. See docs/release.md.
#
#   VERSION=1.0 third_party/release.sh
set -euo pipefail

version=${VERSION:?is not set}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/.."

fail() {
	echo "release: $*" >&2
	exit 1
}

lt=$(third_party/libtorch.sh --print)
name=mvag-torch-$version-linux-x86_64
tree=dist/$name
rm -rf "$tree"
mkdir -p "$tree/bin" "$tree/libtorch"

# The program is linked to find the libraries next to it. It contains no path of
# this machine.
. third_party/env.sh
flags="-s -w -X main.version=$version"
CGO_ENABLED=0 go build -trimpath -ldflags "$flags" -o "$tree/bin/mvag-torch" ./cmd/launch
CGO_LDFLAGS=${CGO_LDFLAGS/"-rpath,$lt/lib"/"-rpath,\$ORIGIN/../libtorch/torch/lib"}
go build -trimpath -ldflags "$flags" -o "$tree/bin/mvag-torch-core" ./cmd/mvag-torch

# The loader lists the files of LibTorch that it loads (ld.so(8)).
root=$(dirname "$lt")
LD_TRACE_LOADED_OBJECTS=1 LD_LIBRARY_PATH=$lt/lib "$tree/bin/mvag-torch-core" |
	awk '$2 == "=>" && $3 ~ "^/" { print $3 }' | while read -r file; do
	from=$(realpath -s "$file")
	if [ "${from#"$root/"}" != "$from" ]; then
		install -D -m 755 "$from" "$tree/libtorch/${from#"$root/"}"
	fi
done
[ -e "$tree/libtorch/torch/lib/libtorch_cpu.so" ] || fail "the loader does not take LibTorch from $lt"
install -m 644 "$lt/version.py" "$tree/libtorch/torch/version.py"

# Licences: this program's, LibTorch's and NVIDIA's from the wheels, Go's and those
# of the modules.
install -m 644 LICENSE "$tree/LICENSE"
licences=$tree/licences
mkdir "$licences"
for info in "$root"/*.dist-info; do
	[ -d "$info" ] || fail "have no licences in $root; remove it and run third_party/libtorch.sh"
	cp -r "$info" "$licences/$(basename "$info" .dist-info)"
done
install -D -m 644 "$(go env GOROOT)/LICENSE" "$licences/go/LICENSE"
go list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Dir}}{{end}}{{end}}' ./cmd/... | sort -u |
	while read -r path dir; do
		mkdir -p "$licences/$path"
		find "$dir" -maxdepth 1 -type f \( -iname 'licen[cs]e*' -o -iname 'notice*' -o -iname 'copying*' \) \
			-exec install -m 644 -t "$licences/$path" {} +
		[ -n "$(ls "$licences/$path")" ] || fail "$path: no licence in $dir"
	done

share=$tree/share
mkdir -p "$share"/{man/man1,bash-completion/completions,zsh/site-functions,fish/vendor_completions.d}
run() { MVAG_LIBTORCH='' "$tree/bin/mvag-torch" "$@"; }
run man >"$share/man/man1/mvag-torch.1"
run completion bash >"$share/bash-completion/completions/mvag-torch"
run completion zsh >"$share/zsh/site-functions/_mvag-torch"
run completion fish >"$share/fish/vendor_completions.d/mvag-torch.fish"

# The same tree gives the same archive.
tar --create --directory dist --sort=name --owner=0 --group=0 --numeric-owner \
	--mtime="@$(git log -1 --format=%ct 2>/dev/null || echo 0)" "$name" | gzip -n >"$tree.tar.gz.part"
mv "$tree.tar.gz.part" "$tree.tar.gz"
rm -rf "$tree"
du -h "$tree.tar.gz"
