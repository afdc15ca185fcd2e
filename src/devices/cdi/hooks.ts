import path from 'node:path';
import type { DeviceEdits, DeviceHook } from '../edits.js';
import type { HostFiles } from '../host-files.js';
import { findLdconfig } from '../image-layout.js';
import { forwardCompat } from '../nvidia/compat.js';

/** Programs of NVIDIA's toolkit whose hooks stand in CDI files. */
const TOOLKIT = new Set(['nvidia-ctk', 'nvidia-cdi-hook']);

/**
 * Does by itself what the hooks of NVIDIA's toolkit in a CDI file would do: links, the ld cache, CUDA's forward
 * compatibility. Such a file works then on a host without the toolkit, and nothing of the host's runs in the container.
 * Hooks of others stay as they are.
 */
export function translateHooks(edits: DeviceEdits, image: HostFiles | undefined): DeviceEdits {
  if (Object.keys(edits.hooks).length === 0) return edits;
  const out: DeviceEdits = {
    ...edits,
    hooks: {},
    symlinks: [...edits.symlinks],
  };
  for (const [name, hooks] of Object.entries(edits.hooks) as [keyof DeviceEdits['hooks'], DeviceHook[]][]) {
    const left = hooks.filter((hook) => !doHook(out, hook, image));
    if (left.length > 0) out.hooks[name] = left;
  }
  return out;
}

/** @returns false for a hook that isn't known */
function doHook(edits: DeviceEdits, hook: DeviceHook, image: HostFiles | undefined): boolean {
  if (!TOOLKIT.has(path.basename(hook.path))) return false;
  const words = (hook.args ?? []).slice(1);
  if (words[0] === 'hook') words.shift();
  const options = parseOptions(words.slice(1));
  switch (words[0]) {
    case 'create-symlinks':
      for (const link of options.get('link') ?? []) {
        const [target, place] = link.split('::');
        if (target && place) edits.symlinks.push({ path: place, target });
      }
      return true;
    case 'update-ldcache':
      addFolders(edits, options.get('folder') ?? [], image);
      return true;
    case 'enable-cuda-compat': {
      const compat = image && forwardCompat(image, options.get('host-driver-version')?.[0]);
      const first = compat && [...compat.values()][0];
      if (first) addFolders(edits, [path.posix.dirname(first)], image, true);
      return true;
    }
    // Directories below /dev are made so that everyone may look into them.
    case 'chmod':
    // Nodes have the right owner and mode already, so that the driver's libraries change nothing.
    case 'disable-device-node-modification':
      return true;
    default:
      return false;
  }
}

/** `--name value` and `--name=value`. */
function parseOptions(words: readonly string[]): Map<string, string[]> {
  const options = new Map<string, string[]>();
  for (let i = 0; i < words.length; i++) {
    const match = /^--?([a-z-]+)(?:=(.*))?$/s.exec(words[i] as string);
    if (!match) continue;
    const value = match[2] ?? words[++i] ?? '';
    const name = match[1] as string;
    options.set(name, [...(options.get(name) ?? []), value]);
  }
  return options;
}

/** Directories named to ldconfig go before those of its own. */
function addFolders(
  edits: DeviceEdits,
  folders: readonly string[],
  image: HostFiles | undefined,
  before = false,
): void {
  const program = image && findLdconfig(image);
  if (!program) return;
  const own = edits.ldconfig?.args.slice(1) ?? [];
  const all = before ? [...folders, ...own] : [...own, ...folders];
  edits.ldconfig = { program, args: ['ldconfig', ...new Set(all)] };
}
