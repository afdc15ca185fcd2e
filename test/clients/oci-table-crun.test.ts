import { compareWith } from '../support/oci-compare.js';
import { findCrun } from '../support/oci-peers.js';

compareWith('crun', findCrun());
