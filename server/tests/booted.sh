# shellcheck shell=bash
# A real server for programs that nobody here wrote: sourced by `conformance/run`, `interop/run`
# and `proxies/run`. Everything is started on a free port of loopback, waited for with a deadline
# and ended by its own process id when the script ends, however it ends.

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
target=${CARGO_TARGET_DIR:-$repository/target}
booted_pids=()

# Where Debian has its servers, which only root has in PATH.
export PATH="$PATH:/usr/sbin"

# Package managers keep what they download where everything else of a build is.
export PIP_CACHE_DIR=$target/downloads/pip npm_config_cache=$target/downloads/npm
export PIP_DISABLE_PIP_VERSION_CHECK=1 npm_config_update_notifier=false npm_config_fund=false

# A server to use instead of building one; what else the environment says is not about ours.
binary=${TICKLOOM_BINARY:-}
for variable in $(compgen -e TICKLOOM_ || true); do
  unset "$variable"
done

# complain STATUS MESSAGE...: says why this cannot go on, and ends the script.
complain() {
  local status=$1
  shift
  printf 'error: %s\n' "$*" >&2
  exit "$status"
}

# install_packages PACKAGE...: from Debian.
install_packages() {
  local as_root=()
  command -v apt-get >/dev/null || complain 2 "install $* first: this is not Debian"
  [ "$(id -u)" -eq 0 ] || as_root=(sudo)
  echo "installing $*"
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# needs_packages COMMAND=PACKAGE...: installs the packages of commands that are missing.
needs_packages() {
  local missing=() pair
  for pair; do
    command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
  done
  [ "${#missing[@]}" -eq 0 ] || install_packages "${missing[@]}"
}

# Builds the server unless TICKLOOM_BINARY named one, and sets `binary`.
build_server() {
  [ -z "$binary" ] || return 0
  binary=$target/release/tickloom
  (cd "$repository" && cargo build --release --locked --quiet -p tickloom-server)
}

# boot LOG COMMAND...: starts a program whose whole output goes to a file, sets `booted_pid`.
boot() {
  local log=$1
  shift
  # Before it starts, or what an earlier one wrote is taken for its own.
  : >"$log"
  "$@" >>"$log" 2>&1 </dev/null &
  booted_pid=$!
  booted_pids+=("$booted_pid")
}

# wait_for WHAT LOG COMMAND...: until the command succeeds; after ten seconds, or when the program
# booted last has ended, shows the log and gives up.
wait_for() {
  local what=$1 log=$2 deadline=$((SECONDS + 10))
  shift 2
  until "$@" >/dev/null 2>&1; do
    if [ "$SECONDS" -ge "$deadline" ] || ! kill -0 "$booted_pid" 2>/dev/null; then
      cat "$log" >&2
      complain 1 "$what did not start"
    fi
    sleep 0.05
  done
}

# boot_server LOG ARGUMENTS...: starts a server on a free port, sets `server_address`.
boot_server() {
  local log=$1
  shift
  boot "$log" "$binary" serve --listen 127.0.0.1:0 --log-format json "$@"
  server_pid=$booted_pid
  wait_for "the server" "$log" grep -q '"event":"listening"' "$log"
  server_address=$(sed -n 's/.*"event":"listening".*"address":"\([^"]*\)".*/\1/p' "$log")
}

# end_booted PID: asks a program to end and waits for it.
end_booted() {
  local pid=$1 deadline=$((SECONDS + 12))
  kill -TERM "$pid" 2>/dev/null || true
  while kill -0 "$pid" 2>/dev/null; do
    [ "$SECONDS" -lt "$deadline" ] || kill -KILL "$pid" 2>/dev/null || true
    sleep 0.05
  done
  wait "$pid" 2>/dev/null || true
}

end_all_booted() {
  local pid
  for pid in "${booted_pids[@]}"; do
    end_booted "$pid"
  done
}
trap end_all_booted EXIT
