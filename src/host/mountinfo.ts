/** One line of /proc/self/mountinfo, as far as it is used here. See proc_pid_mountinfo(5). */
export interface MountInfo {
  /** Directory of the filesystem that is the root of this mount. */
  root: string;
  target: string;
  options: string[];
  type: string;
  source: string;
  superOptions: string[];
}

/** Parses the lines of mountinfo that `wanted` accepts by filesystem type. */
export function parseMountinfo(text: string, wanted: (type: string) => boolean = () => true): MountInfo[] {
  const out: MountInfo[] = [];
  for (const line of text.split('\n')) {
    const dash = line.indexOf(' - ');
    if (dash < 0) continue;
    const [type, source, superOptions] = line.slice(dash + 3).split(' ');
    if (type === undefined || !wanted(type)) continue;
    const [, , , root, target, options] = line.slice(0, dash).split(' ');
    if (root === undefined || target === undefined) continue;
    out.push({
      root: unescapeField(root),
      target: unescapeField(target),
      options: (options ?? '').split(','),
      type,
      source: unescapeField(source ?? ''),
      superOptions: (superOptions ?? '').split(','),
    });
  }
  return out;
}

/** Space, tab, newline and backslash are written as \040, \011, \012, \134. */
function unescapeField(field: string): string {
  return field.includes('\\')
    ? field.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)))
    : field;
}
