import { createRequire } from 'node:module';
import path from 'node:path';
import { NsboxError, packageRoot, setQuickExit } from '../base/index.js';

/**
 * The raw functions of the addon, as native/addon registers them. Each group has a typed file beside this one,
 * which declares its part of this interface and is what the other rooms use.
 */
// biome-ignore lint/suspicious/noEmptyInterface: each group adds its own functions by declaration merging
export interface NativeAddon {}

let loaded: NativeAddon | undefined;

/** Loads the addon at the first call. Says what to do where it isn't built. */
export function addon(): NativeAddon {
  if (loaded) return loaded;
  const file = path.join(packageRoot(), 'build/Release/nsbox.node');
  try {
    loaded = createRequire(path.join(packageRoot(), 'package.json'))(file) as NativeAddon;
    setQuickExit((code) => loaded!.exitNow(code));
    return loaded;
  } catch (cause) {
    throw new NsboxError('INTERNAL', `cannot load nsbox's native code from ${file}`, {
      cause,
      path: file,
      hint: 'build it: `npm start` in the package, or `npm install` (needs g++, make, python3, libseccomp-dev, libzstd-dev)',
    });
  }
}

/** Path of the static helper that becomes monitor and init. */
export function initPath(): string {
  return path.join(packageRoot(), 'build/Release/nsbox-init');
}
