#!/bin/bash
# npm run test:gpu: the checks that need an NVIDIA GPU; without one it says what they are.
#   npm run test:gpu -- --list             what is checked
#   npm run test:gpu -- --pack FILE.tar.gz  everything for a machine without sources, compilers or Node:
#                                           tar xf FILE.tar.gz && sudo ./nsbox-test-gpu/run
set -eu
cd "$(dirname "$0")/.."
unset NODE_EXTRA_CA_CERTS
node scripts/build.mjs native
node scripts/build.mjs js
mkdir -p build/gpu
cc -O2 -Wall -Wextra -o build/gpu/cuda-check test/gpu/cuda-check.c
if [ "${1:-}" != --pack ]; then
  exec node build/js/test/gpu/main.js "$@"
fi
out=$(realpath -m "${2:?name the archive: npm run test:gpu -- --pack FILE.tar.gz}")
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
at=$stage/nsbox-test-gpu
mkdir -p "$at/build/Release" "$at/build/gpu" "$at/lib"
node_modules/.bin/esbuild test/gpu/main.ts --bundle --platform=node --format=esm --target=node20 --log-level=warning \
  --banner:js="import{createRequire as __cr}from'node:module';const require=__cr(import.meta.url);" \
  --outfile="$at/main.mjs"
cp binding.gyp package.json "$at/"
cp -r profiles "$at/"
cp build/Release/nsbox.node build/Release/nsbox-init "$at/build/Release/"
cp build/gpu/cuda-check /bin/busybox "$at/build/gpu/"
cp "$(readlink -f "$(command -v node)")" "$at/node"
# Shared libraries of node and the addon that another machine may lack; the C library itself is its own.
ldd "$at/node" build/Release/nsbox.node | awk '/=> \//{print $3}' | grep -E 'seccomp|zstd|stdc\+\+|gcc_s' | sort -u |
  xargs -I{} cp -L {} "$at/lib/"
cat >"$at/run" <<'RUN'
#!/bin/sh
# Checks NVIDIA GPUs in nsbox's containers; needs root. --list says what is checked.
cd "$(dirname "$0")" && LD_LIBRARY_PATH=lib exec ./node main.mjs "$@"
RUN
chmod +x "$at/run"
tar -C "$stage" -czf "$out" nsbox-test-gpu
echo "$out: $(du -h "$out" | cut -f1); on the machine with a GPU: tar xf $(basename "$out") && sudo ./nsbox-test-gpu/run"
