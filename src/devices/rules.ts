import { InvalidError } from '../base/index.js';
import type { DeviceRule } from './edits.js';

/**
 * `--device-cgroup-rule 'c 42:* rmw'`: kind, numbers (or `*`), access.
 * @throws InvalidError
 * @see Documentation/admin-guide/cgroup-v1/devices.rst of the kernel, whose syntax this is
 */
export function parseDeviceRule(text: string): DeviceRule {
  const match = /^([acb])\s+(\d+|\*):(\d+|\*)\s+([rwm]{1,3})$/.exec(text.trim());
  if (!match) {
    throw new InvalidError(`invalid device cgroup rule "${text}"`, {
      hint: "it reads like 'c 195:* rwm': a, b or c; major:minor, each a number or *; some of r, w and m",
    });
  }
  const [, type, major, minor, access] = match as unknown as [
    string,
    'a' | 'b' | 'c',
    string,
    string,
    string,
  ];
  return {
    allow: true,
    type,
    ...(major === '*' ? {} : { major: Number(major) }),
    ...(minor === '*' ? {} : { minor: Number(minor) }),
    access: 'rwm'.replace(/./g, (c) => (access.includes(c) ? c : '')),
  };
}
