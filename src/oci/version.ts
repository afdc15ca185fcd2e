import { readFileSync } from 'node:fs';
import path from 'node:path';
import { packageRoot } from '../base/index.js';
import { libseccompVersion } from '../kernel/index.js';
import { OCI_VERSION } from '../spec/index.js';

/** What `--version` prints: callers parse the lines `commit:` and `spec:`, and the version of the first. */
export function versionText(): string {
  return [
    `nsbox-oci version ${packageVersion()}`,
    `commit: ${packageVersion()}`,
    `spec: ${OCI_VERSION}`,
    `node: ${process.version}`,
    `libseccomp: ${libseccompVersion()}`,
    '',
  ].join('\n');
}

/** Version of the nsbox package. */
export function packageVersion(): string {
  const text = readFileSync(path.join(packageRoot(), 'package.json'), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
