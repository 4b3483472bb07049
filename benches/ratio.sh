#!/usr/bin/env bash
# What the server costs beside the kernel's floor, in one run: CPU per client and tick of 50 arena
# rooms x 20 players at 20 Hz, in turns with raw loopback sockets that carry as many bytes.
#
#   benches/ratio.sh [PAIRS]      three pairs by default, about 25 s each
set -euo pipefail
cd "$(dirname "$0")/.."

pairs=${1:-3}
clients=1000
# Bytes that a member of such a room gets per tick, as the load generator prints them.
frame_bytes=290
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

number() { sed -n "s/.*\"$2\": *\([0-9]*\).*/\1/p" "$1" | head -n 1; }
word() { sed -n "s/.*\"$2\": *\"\([A-Z]*\)\".*/\1/p" "$1" | head -n 1; }
median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

cargo build --quiet --release -p tickloom-loadtest -p tickloom-server
cargo bench --quiet -p tickloom-benches --bench floor --no-run 2>/dev/null
printf '%-6s%12s%16s%16s   %s\n' pair server floor:paced floor:batched verdicts
for pair in $(seq "$pairs"); do
  cargo run --quiet --release -p tickloom-loadtest -- run --clients "$clients" --room-size 20 \
    --duration 10s --json "$work/server.json" >/dev/null 2>&1 || true
  cargo bench --quiet -p tickloom-benches --bench floor -- --json --connections "$clients" \
    --payload "$frame_bytes" --rounds 3 2>/dev/null | grep '^{' >"$work/floor.json"
  server=$(number "$work/server.json" cpu_ns_per_client_tick)
  paced=$(number "$work/floor.json" paced_ns)
  batched=$(number "$work/floor.json" batched_ns)
  printf '%-6s%9s ns%13s ns%13s ns   %s %s\n' "$pair" "$server" "$paced" "$batched" \
    "$(word "$work/server.json" verdict)" "$(word "$work/floor.json" verdict)"
  echo "$server $paced $batched" >>"$work/rows"
done
awk '{ print $1 / $2 }' "$work/rows" | median | xargs printf 'server / floor, paced:   %.2f (median)\n'
awk '{ print $1 / $3 }' "$work/rows" | median | xargs printf 'server / floor, batched: %.2f (median)\n'
