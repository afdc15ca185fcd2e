/** Names of the Container Device Interface: `vendor/class=name`, as in `nvidia.com/gpu=0`. */

export interface QualifiedName {
  /** As `nvidia.com`. */
  vendor: string;
  /** As `gpu`. */
  class: string;
  /** As `0` or `all`. */
  name: string;
}

/** Splits a fully qualified CDI device name; undefined where the text isn't one. */
export function parseQualifiedName(text: string): QualifiedName | undefined {
  const match = /^([^/=]+)\/([^/=]+)=([^/=]+)$/.exec(text);
  if (!match) return undefined;
  const [, vendor, klass, name] = match as unknown as [string, string, string, string];
  if (!isVendorName(vendor) || !isClassName(klass) || !isDeviceName(name)) return undefined;
  return { vendor, class: klass, name };
}

/** True of `vendor/class=name`; a path (`/dev/x`) never is. */
export function isQualifiedName(text: string): boolean {
  return parseQualifiedName(text) !== undefined;
}

/** A letter, then letters, digits, `_`, `-`, `.`; a letter or digit at the end. */
export function isVendorName(text: string): boolean {
  return /^[A-Za-z](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?$/.test(text);
}

/** As a vendor's; the dot came with version 0.6.0 of the spec. */
export function isClassName(text: string): boolean {
  return isVendorName(text);
}

/** A letter or digit, then letters, digits, `_`, `-`, `.`, `:`; a letter or digit at the end. */
export function isDeviceName(text: string): boolean {
  return /^[A-Za-z0-9](?:[A-Za-z0-9_.:-]*[A-Za-z0-9])?$/.test(text);
}
