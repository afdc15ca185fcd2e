/** What all suites of one run share. */
import type { Place } from './nsbox.js';
import type { Peers } from './peers.js';
import type { Timer } from './timer.js';

export interface Setup {
  place: Place;
  peers: Peers;
  /** Times commands on the host as it is. */
  timer: Timer;
  quick: boolean;
  /** Whether cold starts may drop the caches of the whole machine. */
  dropCaches: boolean;
  /** Tells what isn't measured, and why. */
  skip(name: string, why: string): void;
}
