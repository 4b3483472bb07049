# shellcheck shell=bash
# Node and packages from npm for tests, beside `booted.sh`: sourced by `interop/run` and
# `browser/run`. Everything lands in the work folder of the test.

# The first Node that the packages take, and which one to fetch where it is older.
node_major_min=20 node_version=24.9.0

npm_install() {
  (cd "$work" && timeout 300 npm install --no-package-lock --no-audit --loglevel=error "$@") \
    >"$work/npm.log" 2>&1 || { cat "$work/npm.log" >&2; complain 2 "npm failed"; }
}

# install_node_packages FOLDER: what its package.json names, into $work. Sets `node`, exports MODULES.
install_node_packages() {
  local folder=$1 wanted major arch=''
  needs_packages node=nodejs npm=npm
  node=$(command -v node)
  wanted="package.json of $(sha256sum <"$folder/package.json")"
  major=$("$node" --version | sed 's/^v\([0-9]*\).*/\1/')
  if [ "$major" -lt "$node_major_min" ]; then
    case $(uname -m) in x86_64) arch=x64 ;; aarch64) arch=arm64 ;; *) complain 2 "no Node here" ;; esac
    wanted+=" node $node_version"
    node=$work/node_modules/node-linux-$arch/bin/node
  fi
  if [ "$(cat "$work/npm-installed" 2>/dev/null)" != "$wanted" ]; then
    echo "installing npm packages"
    cp "$folder/package.json" "$work/package.json"
    npm_install
    [ -z "$arch" ] || npm_install --no-save "node-linux-$arch@$node_version"
    echo "$wanted" >"$work/npm-installed"
  fi
  export MODULES=$work/node_modules
}
