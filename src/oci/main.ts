// What bin/nsbox-oci starts.
import { leave } from '../base/index.js';
import { oci } from './oci.js';

const argv = process.argv.slice(2);
/** These may stay with a terminal, or copy streams. */
const tidy = ['run', 'exec', 'restore'].some((name) => argv.includes(name));
oci(argv).then((code) => leave(process, code, tidy));
