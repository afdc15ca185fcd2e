/** Sizes, durations and times as Docker's users read them. */

/** Four significant digits at most, as Go's %.4g / %.3g for these ranges. */
function significant(value: number, digits: number): string {
  return String(Number(value.toPrecision(digits)));
}

function scaled(bytes: number, base: number, units: readonly string[], digits: number): string {
  let i = 0;
  let value = bytes;
  while (value >= base && i < units.length - 1) {
    value /= base;
    i++;
  }
  return significant(value, digits) + units[i]!;
}

const DECIMAL_UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB', 'EB'];
const BINARY_UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'];

/** `4.21MB`: powers of 1000, as image and container sizes are shown. */
export function humanSize(bytes: number, digits = 3): string {
  return scaled(bytes, 1000, DECIMAL_UNITS, digits);
}

/** `1.953GiB`: powers of 1024, as memory is shown. */
export function binarySize(bytes: number): string {
  return scaled(bytes, 1024, BINARY_UNITS, 4);
}

/** `About an hour`, `3 minutes`, `Less than a second`: a duration in words. */
export function humanDuration(milliseconds: number): string {
  const seconds = Math.floor(milliseconds / 1000);
  if (seconds < 1) return 'Less than a second';
  if (seconds === 1) return '1 second';
  if (seconds < 60) return `${seconds} seconds`;
  const minutes = Math.floor(seconds / 60);
  if (minutes === 1) return 'About a minute';
  if (minutes < 60) return `${minutes} minutes`;
  const hours = Math.round(seconds / 3600);
  if (hours === 1) return 'About an hour';
  if (hours < 48) return `${hours} hours`;
  if (hours < 24 * 7 * 2) return `${Math.floor(hours / 24)} days`;
  if (hours < 24 * 30 * 2) return `${Math.floor(hours / 24 / 7)} weeks`;
  if (hours < 24 * 365 * 2) return `${Math.floor(hours / 24 / 30)} months`;
  return `${Math.floor(hours / 24 / 365)} years`;
}

/** `3 minutes ago`; empty for a missing time or Docker's zero time. */
export function timeAgo(iso: string | undefined, now: number): string {
  if (!iso || iso.startsWith('0001-')) return '';
  return `${humanDuration(Math.max(0, now - Date.parse(iso)))} ago`;
}

/** `2026-11-21 07:13:00 +0000 UTC`, the form of CreatedAt. */
export function createdAt(iso: string): string {
  return `${iso.slice(0, 10)} ${iso.slice(11, 19)} +0000 UTC`;
}
