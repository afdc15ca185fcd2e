/**
 * How long a test goes on. `npm test` takes the short way through a test that finds more the longer it runs;
 * `npm run soak` (scripts/soak.mjs) runs the same test for minutes.
 */

/** Minutes that `npm run soak` gives to each of its tests; undefined in `npm test`. */
const given = process.env['NSBOX_SOAK_MINUTES'];

/** Milliseconds for this test under `npm run soak`; undefined in `npm test`. */
export const soakMs: number | undefined = given === undefined ? undefined : Number(given) * 60_000;

/** One number for `npm test`, another for `npm run soak`. */
export function bySoak<T>(short: T, long: T): T {
  return soakMs === undefined ? short : long;
}
