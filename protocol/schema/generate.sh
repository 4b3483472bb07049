#!/usr/bin/env bash
# Regenerates protocol/src/generated.rs from wire.fbs; with --check, fails if it would change.
#
# The generated code must come from the flatc that matches the flatbuffers crate, and
# distributions ship older ones. The crate below carries flatc's C++ sources; they are compiled
# here with plain g++ (about a minute on two cores) and kept under target/ for the next time.
set -euo pipefail

flatc_crate="flatc-fork@=0.6.0"
flatc_version="25.12.19"

schema_dir=$(cd "$(dirname "$0")" && pwd)
target_dir="$schema_dir/../../target/flatc-$flatc_version"
flatc="$target_dir/flatc"

build_flatc() {
  mkdir -p "$target_dir/fetch/src"
  (
    cd "$target_dir/fetch"
    # An empty package outside the workspace: cargo only fetches and unpacks the sources.
    printf '[package]\nname = "fetch"\nversion = "0.0.0"\nedition = "2024"\n[workspace]\n' >Cargo.toml
    : >src/lib.rs
    cargo add --quiet "$flatc_crate"
    cargo fetch --quiet
  )
  local manifest source_dir
  manifest=$(cd "$target_dir/fetch" && cargo metadata --format-version 1 |
    tr ',' '\n' | sed -n 's/^"manifest_path":"\(.*flatc-fork[^"]*\)"$/\1/p' | head -n 1)
  source_dir="$(dirname "$manifest")/flatbuffers"
  local objects="$target_dir/objects"
  mkdir -p "$objects"
  cd "$source_dir"
  { ls src/*.cpp | grep -v flathash; ls grpc/src/compiler/*.cc; echo include/codegen/python.cc; } |
    xargs -P "$(nproc)" -I{} sh -c \
      'g++ -std=c++17 -O1 -Iinclude -Igrpc -I. -c "$1" -o "$2/$(echo "$1" | tr "/" "_").o"' \
      sh {} "$objects"
  g++ "$objects"/*.o -o "$flatc"
  cd "$schema_dir"
}

[ -x "$flatc" ] || build_flatc
"$flatc" --version | grep -q "$flatc_version" || { echo "flatc is not $flatc_version" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$flatc" --rust -o "$work" "$schema_dir/wire.fbs"
generated="$schema_dir/../src/generated.rs"
if [ "${1:-}" = "--check" ]; then
  cmp "$work/wire_generated.rs" "$generated" ||
    { echo "protocol/src/generated.rs is stale: run protocol/schema/generate.sh" >&2; exit 1; }
  echo "generated code is up to date"
else
  cp "$work/wire_generated.rs" "$generated"
fi
