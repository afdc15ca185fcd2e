#!/bin/bash
# Checks the machine, and installs what is missing where that can be done (Debian or Ubuntu, as root).
# Quick and quiet when nothing is missing. `--test`: also what the tests drive (peers, servers, tools).
set -eu
cd "$(dirname "$0")/.."

die() {
  echo "setup: $*" >&2
  exit 1
}

[ "$(uname -s)" = Linux ] || die "nsbox runs on Linux; this is $(uname -s)"

command -v node >/dev/null || die "Node.js is missing: install Node 20.11 or later (https://nodejs.org, or your distribution's nodejs and npm)"
node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 11) ? 0 : 1)' ||
  die "Node.js $(node -v) is too old: nsbox needs 20.11 or later"
command -v npm >/dev/null || die "npm is missing: install it beside node (Debian: apt-get install npm)"

lists=scripts/packages-build.txt
[ "${1:-}" = --test ] && lists="$lists scripts/packages-test.txt"
# shellcheck disable=SC2086
wanted=$(sed 's/#.*//' $lists | awk 'NF { print $1 }' | sort -u)

if command -v dpkg-query >/dev/null; then
  # shellcheck disable=SC2086
  present=$(dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' $wanted 2>/dev/null | awk '$1 == "ii" { print $2 }' | sort -u)
  missing=$(comm -23 <(printf '%s\n' "$wanted") <(printf '%s\n' "$present") | tr '\n' ' ')
  if [ -n "${missing// /}" ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
      echo "setup: installing $missing"
      log=$(mktemp)
      trap 'rm -f "$log"' EXIT
      get() { DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 "$@" </dev/null >>"$log" 2>&1; }
      # shellcheck disable=SC2086
      if ! get install -y --no-install-recommends $missing; then
        # The package lists may be old or absent. Another program's broken list is not ours to fail on.
        get update || true
        # shellcheck disable=SC2086
        get install -y --no-install-recommends $missing || { tail -n 20 "$log" >&2; die "apt-get could not install: $missing"; }
      fi
    else
      die "missing packages; as root: apt-get install --no-install-recommends $missing"
    fi
  fi
else
  absent=
  for c in g++ make python3 pkg-config busybox; do command -v "$c" >/dev/null || absent="$absent $c"; done
  for h in seccomp.h zstd.h; do echo "#include <$h>" | g++ -E -x c++ - >/dev/null 2>&1 || absent="$absent $h"; done
  [ -z "$absent" ] || die "missing:$absent. Install them with your package manager (Debian's names: $(echo $wanted))"
fi

# Packages of npm: all that the lock file names, in those versions. `npm ci` wants entries even for platforms that a
# registry may not serve; an install from the same lock file does without them.
if ! node scripts/modules-fresh.mjs; then
  echo 'setup: npm ci'
  # Without scripts: the build that follows compiles the addon, and once is enough.
  flags='--ignore-scripts --no-audit --no-fund --loglevel=error'
  # shellcheck disable=SC2086
  npm ci $flags </dev/null >/dev/null 2>&1 || npm install --no-save $flags </dev/null
  node scripts/modules-fresh.mjs || die "node_modules is not what package-lock.json names: remove it and run npm install"
fi
