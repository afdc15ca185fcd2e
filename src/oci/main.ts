// What bin/nsbox-oci starts.
import { oci } from './oci.js';

oci(process.argv.slice(2)).then((code) => process.exit(code));
