import { CUDA_OF_BRANCH } from './table.js';

/**
 * Checks an image's NVIDIA_REQUIRE_… variables against the driver: alternatives by spaces, of conditions by commas,
 * as `cuda>=12.4 brand=tesla,driver>=535`. Conditions on what can't be known without opening the GPU (brand, arch)
 * count as met, and the answer is a warning, never a refusal.
 * @returns a sentence where the driver is too old for the image
 */
export function unmetRequirement(env: ReadonlyMap<string, string>, version: string): string | undefined {
  if (/^(1|true|all)$/i.test(env.get('NVIDIA_DISABLE_REQUIRE') ?? '')) return undefined;
  const cuda = cudaOf(version);
  for (const [key, value] of env) {
    if (!key.startsWith('NVIDIA_REQUIRE_')) continue;
    const alternatives = value.split(/\s+/).filter((a) => a !== '');
    if (alternatives.length === 0) continue;
    const met = alternatives.some((a) => a.split(',').every((c) => isMet(c, version, cuda)));
    if (!met) {
      const cudaNeeded = /cuda\s*>=?\s*([\d.]+)/.exec(value)?.[1];
      return `the image asks for ${cudaNeeded ? `CUDA ${cudaNeeded}` : `"${alternatives[0]}"`}, and this host's NVIDIA driver ${version} offers ${cuda ? `CUDA ${cuda}` : 'less'}: update the driver, or take an older image`;
    }
  }
  return undefined;
}

/** The CUDA version of a driver; undefined for branches that the table doesn't know. */
export function cudaOf(version: string): string | undefined {
  return CUDA_OF_BRANCH[Number.parseInt(version, 10)];
}

function isMet(condition: string, driver: string, cuda: string | undefined): boolean {
  const match = /^(\w+)\s*(>=|<=|!=|=|<|>)\s*(\S+)$/.exec(condition.trim());
  if (!match) return true;
  const [, what, operator, wanted] = match as unknown as [string, string, string, string];
  const have = what === 'cuda' ? cuda : what === 'driver' ? driver : undefined;
  if (have === undefined) return true;
  const order = compareVersions(have, wanted);
  switch (operator) {
    case '>=':
      return order >= 0;
    case '<=':
      return order <= 0;
    case '>':
      return order > 0;
    case '<':
      return order < 0;
    case '!=':
      return order !== 0;
    default:
      return order === 0;
  }
}

/** By numbers; a part that one of them lacks counts as equal (`550` is any 550.x). */
export function compareVersions(a: string, b: string): number {
  const x = a.split('.').map(Number);
  const y = b.split('.').map(Number);
  for (let i = 0; i < Math.min(x.length, y.length); i++) {
    const difference = (x[i] as number) - (y[i] as number);
    if (difference !== 0) return difference;
  }
  return 0;
}
