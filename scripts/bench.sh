#!/bin/bash
# npm run bench: builds what it needs, then measures (bench/main.ts).
set -eu
cd "$(dirname "$0")/.."
unset NODE_EXTRA_CA_CERTS
[ -e build/Release/nsbox.node ] && [ -e dist/nsbox.cjs ] || node scripts/build.mjs
node scripts/build.mjs js
exec node build/js/bench/main.js "$@"
