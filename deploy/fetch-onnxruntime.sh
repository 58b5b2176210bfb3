#!/bin/sh
# Fetches onnxruntime's shared library for this machine into the folder given, or into .onnxruntime.
# A library that is there with the right checksum is left alone.
set -eu

version=1.27.0
folder=${1:-.onnxruntime}
library=$folder/libonnxruntime.so.1

fail() {
	echo "fetch-onnxruntime: $*" >&2
	exit 1
}

case "$(uname -s) $(uname -m)" in
"Linux x86_64")
	arch=x64
	sum=d8aff4aa8abee8fb2abb2f2f2459ffc94461e781e41b9f7c072829dd0d470221
	;;
"Linux aarch64")
	arch=arm64
	sum=c36bc200e7e6c093b8abb0b34590fbdd8c52fd3fb5e33795b9523ffdde2fce0f
	;;
*) fail "there is no pinned onnxruntime for $(uname -s) on $(uname -m); Linux on x86_64 or aarch64 is needed" ;;
esac

right() {
	[ -f "$1" ] && echo "$sum  $1" | sha256sum -c - >/dev/null 2>&1
}

if right "$library"; then
	exit 0
fi
command -v npm >/dev/null || fail "npm is needed to fetch onnxruntime; install Node.js, which brings it"

# The library is moved into place whole, from the same file system, so an interrupted run leaves nothing half-written.
mkdir -p "$folder"
partial=$(mktemp -d "$folder/fetch.XXXXXX")
trap 'rm -rf "$partial"' EXIT
trap 'exit 1' HUP INT TERM

# npm pack runs no script of the package; npm install would run one that downloads more from elsewhere.
echo "fetching onnxruntime $version for $arch" >&2
npm pack --silent --pack-destination "$partial" "onnxruntime-node@$version" >/dev/null ||
	fail "npm could not fetch onnxruntime-node@$version"
member=package/bin/napi-v6/linux/$arch/libonnxruntime.so.1
tar -xzf "$partial/onnxruntime-node-$version.tgz" -C "$partial" "$member" || fail "the package holds no $member"
right "$partial/$member" || fail "the library fetched has another checksum than sha256 $sum"
mv "$partial/$member" "$library"
