#!/bin/bash
# npm test: everything, from a fresh clone. `npm test -- pure kernel` runs those rings alone; an argument that is
# a test file (test/…/x.test.ts) runs that file.
set -eu
cd "$(dirname "$0")/.."
# Node reads a CA bundle named here at every start (133 ms for a distribution's); no test needs it.
unset NODE_EXTRA_CA_CERTS
bash scripts/setup.sh --test
exec node scripts/test.mjs "$@"
