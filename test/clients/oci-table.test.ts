import { compareWith } from '../support/oci-compare.js';
import { findRunc } from '../support/oci-peers.js';

compareWith('runc', findRunc());
