import { strings, uint32, uint64 } from './schema-common.js';
import * as z from './shape.js';

/**
 * Sections of config.json for other platforms. A bundle that has one is judged by the standard and then run by its
 * `linux` section alone: the plan warns about them.
 */

const sharing = z.oneOf(['disable', 'new', 'inherit']);
const sharingNoDisable = z.oneOf(['new', 'inherit']);
const flag = z.optional(z.boolean());

export const freebsdSchema = z.object({
  devices: z.optional(
    z.array(z.object({ path: z.optional(z.string()), mode: z.optional(uint32.check(z.atMost(0o777))) })),
  ),
  jail: z.optional(
    z.object({
      parent: z.optional(z.string()),
      host: z.optional(sharingNoDisable),
      ip4: z.optional(sharing),
      ip4Addr: z.optional(strings),
      ip6: z.optional(sharing),
      ip6Addr: z.optional(strings),
      vnet: z.optional(sharingNoDisable),
      interface: z.optional(z.string()),
      vnetInterfaces: z.optional(strings),
      sysvmsg: z.optional(sharing),
      sysvsem: z.optional(sharing),
      sysvshm: z.optional(sharing),
      enforceStatfs: z.optional(uint32.check(z.atMost(255))),
      allow: z.optional(
        z.object({
          setHostname: flag,
          rawSockets: flag,
          chflags: flag,
          mount: z.optional(strings),
          quotas: flag,
          socketAf: flag,
          mlock: flag,
          reservedPorts: flag,
          suser: flag,
        }),
      ),
    }),
  ),
});

export const zosSchema = z.object({
  namespaces: z.optional(
    z.array(z.object({ type: z.oneOf(['mount', 'pid', 'uts', 'ipc']), path: z.optional(z.string()) })),
  ),
});

export const vmSchema = z.object({
  hypervisor: z.optional(z.object({ path: z.string(), parameters: z.optional(strings) })),
  kernel: z.object({ path: z.string(), parameters: z.optional(strings), initrd: z.optional(z.string()) }),
  image: z.optional(z.object({ path: z.string(), format: z.oneOf(['raw', 'qcow2', 'vdi', 'vmdk', 'vhd']) })),
  hwConfig: z.optional(
    z.object({
      deviceTree: z.optional(z.string()),
      vcpus: z.optional(uint32),
      memory: z.optional(uint64),
      dtdevs: z.optional(strings),
      iomems: z.optional(
        z.array(z.object({ firstGFN: z.optional(uint64), firstMFN: uint64, nrMFNs: uint64 })),
      ),
      irqs: z.optional(z.array(uint32)),
    }),
  ),
});

export const solarisSchema = z.record(z.unknown());
export const windowsSchema = z.record(z.unknown());
