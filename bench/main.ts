/** The door of the bench: `npm run bench` and `nsbox bench` end here. */
import { bench } from './bench.js';

bench(process.argv.slice(2)).then(
  (code) => process.exit(code),
  (error: Error) => {
    process.stderr.write(`bench: ${error.message}\n`);
    process.exit(1);
  },
);
