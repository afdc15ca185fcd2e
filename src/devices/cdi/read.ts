import { InvalidError } from '../../base/index.js';
import { parse } from '../../spec/index.js';
import { isClassName, isDeviceName, isVendorName } from './names.js';
import type { CdiEdits, CdiSpec } from './schema.js';

/** Versions that the standard has had. */
const VERSIONS = ['0.1.0', '0.2.0', '0.3.0', '0.4.0', '0.5.0', '0.6.0', '0.7.0', '0.8.0', '1.0.0', '1.1.0'];

/**
 * Reads the text of a CDI file and checks it as the standard asks: types, names, no unknown field, and no field that
 * its declared version doesn't have yet.
 * @param file for messages; its extension doesn't matter, since JSON is YAML
 * @throws InvalidError with the place in the document
 */
export async function readCdiSpec(source: string, file: string): Promise<CdiSpec> {
  const { cdiSpecSchema } = await import('./schema.js');
  const document = await decode(source, file);
  if (typeof document !== 'object' || document === null) {
    throw new InvalidError(`${file}: expected a mapping with cdiVersion, kind and devices`, {
      code: 'INVALID_SPEC',
      path: file,
    });
  }
  const { value, unknown } = parse(cdiSpecSchema, document, file);
  const fault =
    (unknown.length > 0 ? `unknown field ${unknown[0]}` : undefined) ??
    checkNames(value) ??
    checkVersion(value);
  if (fault) throw new InvalidError(`${file}: ${fault}`, { code: 'INVALID_SPEC', path: file });
  return value;
}

async function decode(source: string, file: string): Promise<unknown> {
  // JSON first: it spares loading the YAML parser for the files that most tools write.
  if (source.trimStart().startsWith('{')) {
    try {
      return JSON.parse(source);
    } catch {
      // A YAML flow mapping also begins so.
    }
  }
  const yaml = await import('js-yaml');
  // Go's YAML reads 0666 as octal, and people write file modes so; YAML 1.2 would make 666 of it.
  const octal = yaml.defineScalarTag<number>('tag:yaml.org,2002:int', {
    implicit: true,
    identify: () => false,
    implicitFirstChars: ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '-', '+'],
    resolve: (text: string): number | typeof yaml.NOT_RESOLVED => {
      if (/^0[0-7]+$/.test(text)) return Number.parseInt(text, 8);
      if (/^[-+]?(0|[1-9][0-9]*)$/.test(text) || /^0(x[0-9a-fA-F]+|o[0-7]+)$/.test(text)) return Number(text);
      return yaml.NOT_RESOLVED;
    },
  });
  try {
    return yaml.load(source, { schema: yaml.CORE_SCHEMA.withTags([octal, yaml.mergeTag]) });
  } catch (cause) {
    const reason = (cause as { reason?: string }).reason ?? (cause as Error).message;
    const line = (cause as { mark?: { line: number } }).mark?.line;
    throw new InvalidError(
      `${file}: not valid YAML or JSON${line === undefined ? '' : ` at line ${line + 1}`}: ${reason}`,
      { code: 'INVALID_SPEC', path: file, cause },
    );
  }
}

function checkNames(spec: CdiSpec): string | undefined {
  const [vendor, klass, ...rest] = spec.kind.split('/');
  if (!vendor || !klass || rest.length > 0 || !isVendorName(vendor) || !isClassName(klass)) {
    return `kind: expected vendor/class, such as "vendor.com/device", received "${spec.kind}"`;
  }
  const seen = new Set<string>();
  for (const [i, device] of spec.devices.entries()) {
    if (!isDeviceName(device.name)) return `devices[${i}].name: "${device.name}" can't be a device name`;
    if (seen.has(device.name)) return `devices[${i}].name: "${device.name}" is there twice`;
    seen.add(device.name);
    if (Object.values(device.containerEdits).every((v) => v === undefined)) {
      return `devices[${i}].containerEdits: the device "${device.name}" changes nothing`;
    }
  }
  return undefined;
}

function checkVersion(spec: CdiSpec): string | undefined {
  const at = VERSIONS.indexOf(spec.cdiVersion.replace(/^v/, ''));
  if (at < 0) {
    return `cdiVersion: expected one of ${VERSIONS[0]} to ${VERSIONS.at(-1)}, received "${spec.cdiVersion}"`;
  }
  for (const [version, what] of neededVersions(spec)) {
    if (VERSIONS.indexOf(version) > at) {
      return `cdiVersion: ${what} needs at least ${version}, and the file says ${spec.cdiVersion}`;
    }
  }
  return undefined;
}

/** The oldest version that has all that a spec uses. */
export function minimumVersion(spec: CdiSpec): string {
  let at = VERSIONS.indexOf('0.3.0');
  for (const [version] of neededVersions(spec)) at = Math.max(at, VERSIONS.indexOf(version));
  return VERSIONS[at] as string;
}

/** What a spec uses beyond 0.3.0, with the version that brought it. */
function* neededVersions(spec: CdiSpec): Generator<[version: string, what: string]> {
  const has = (where: (edits: CdiEdits) => boolean) =>
    [spec.containerEdits, ...spec.devices.map((d) => d.containerEdits)].some(
      (e) => e !== undefined && where(e),
    );
  if (has((e) => e.mounts?.some((m) => m.type !== undefined && m.type !== '') ?? false)) {
    yield ['0.4.0', "a mount's type"];
  }
  if (has((e) => e.deviceNodes?.some((n) => n.hostPath !== undefined) ?? false)) {
    yield ['0.5.0', "a device node's hostPath"];
  }
  if (spec.devices.some((d) => /^[0-9]/.test(d.name)))
    yield ['0.5.0', 'a device name that starts with a digit'];
  const annotated = [spec.annotations, ...spec.devices.map((d) => d.annotations)];
  if (annotated.some((a) => a !== undefined && Object.keys(a).length > 0)) yield ['0.6.0', 'annotations'];
  if (spec.kind.split('/')[1]?.includes('.')) yield ['0.6.0', 'a dot in the class'];
  if (has((e) => e.intelRdt !== undefined)) yield ['0.7.0', 'intelRdt'];
  if (has((e) => (e.additionalGids?.length ?? 0) > 0)) yield ['0.7.0', 'additionalGids'];
  if (has((e) => (e.netDevices?.length ?? 0) > 0)) yield ['1.1.0', 'netDevices'];
  if (has((e) => e.intelRdt?.schemata !== undefined || e.intelRdt?.enableMonitoring !== undefined)) {
    yield ['1.1.0', "intelRdt's schemata and enableMonitoring"];
  }
}
