import { UnsupportedError } from '../base/index.js';
import type { Descriptor, Platform } from './types.js';

const ARCHITECTURES: Record<string, string> = {
  x64: 'amd64',
  arm64: 'arm64',
  riscv64: 'riscv64',
  s390x: 's390x',
};

/** This machine, or what `--platform os[/arch[/variant]]` says. */
export function wantedPlatform(text?: string): Platform {
  if (text === undefined) return { os: 'linux', architecture: ARCHITECTURES[process.arch] ?? process.arch };
  const parts = text.split('/');
  const architecture =
    parts.length === 1 && parts[0] !== 'linux' ? parts[0]! : (parts[1] ?? wantedPlatform().architecture);
  return {
    os: parts.length === 1 ? 'linux' : parts[0]!,
    architecture:
      ({ x86_64: 'amd64', aarch64: 'arm64' } as Record<string, string>)[architecture] ?? architecture,
    variant: parts[2],
  };
}

/** Picks the manifest of an index for a platform. @throws UnsupportedError that lists what there is */
export function choosePlatform(manifests: readonly Descriptor[], wanted: Platform, name: string): Descriptor {
  const real = manifests.filter((m) => m.platform?.os !== 'unknown');
  const fits = real.filter((m) => {
    // A layout written by a tool that doesn't say: the only one there is.
    if (!m.platform) return real.length === 1;
    return m.platform.os === wanted.os && m.platform.architecture === wanted.architecture;
  });
  const exact = fits.find((m) => m.platform?.variant === wanted.variant);
  const best = exact ?? (wanted.variant === undefined ? fits[0] : undefined);
  if (best) return best;
  const there = real.flatMap((m) => (m.platform ? [platformText(m.platform)] : []));
  throw new UnsupportedError(`${name} has no image for ${platformText(wanted)}`, {
    hint: there.length > 0 ? `it has ${[...new Set(there)].join(', ')}` : undefined,
  });
}

export function platformText(p: Platform): string {
  return [p.os, p.architecture, p.variant].filter((x) => x).join('/');
}

/** What an image is made for, where that isn't the platform asked for; undefined where it fits. */
export function platformMismatch(image: Platform, text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  const wanted = wantedPlatform(text);
  const fits =
    image.os === wanted.os &&
    image.architecture === wanted.architecture &&
    (wanted.variant === undefined || image.variant === undefined || image.variant === wanted.variant);
  return fits ? undefined : platformText(image);
}
