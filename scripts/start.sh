#!/bin/bash
# npm start: from a fresh clone to a container that shows where it is. Quick when everything is there already.
set -eu
cd "$(dirname "$0")/.."
unset NODE_EXTRA_CA_CERTS
bash scripts/setup.sh
echo 'Building …'
log=$(mktemp)
trap 'rm -f "$log"' EXIT
node scripts/build.mjs >"$log" 2>&1 || {
  tail -n 40 "$log" >&2
  echo 'npm start: the build failed; the lines above say why' >&2
  exit 1
}

nsbox=$PWD/bin/nsbox
if [ "$(id -u)" != 0 ]; then
  echo "Built. Containers need root; go on with: sudo $nsbox run --rm hello"
  exit 0
fi

for image in dist/images/*.tar; do "$nsbox" load --quiet --input "$image" >/dev/null; done

echo
"$nsbox" run --rm hello
cat <<TEXT

Try next:
  export PATH="$PWD/bin:\$PATH"
  nsbox run --rm -it busybox sh                      a shell in a container
  nsbox run --rm busybox cat /proc/self/uid_map      root inside is an unprivileged id outside
  nsbox run --explain busybox true                   every kernel call of a start, without running it
  nsbox run -d --name web -p 8080:80 busybox httpd -f -h /etc
  nsbox logs web; nsbox exec web ps; nsbox rm -f web
  nsbox --help                                       all commands; README.md has more examples
TEXT
