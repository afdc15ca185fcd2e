import type { Context } from '../base/index.js';
import type { Finding } from './doctor.js';

/** What `nsbox doctor --gpu` finds: drivers, nodes, libraries, versions, permissions. */
export async function examineGpus(ctx: Context): Promise<Finding[]> {
  const { checkGpus, driverFiles } = await import('../devices/index.js');
  const checks = await checkGpus(driverFiles(ctx.env['NSBOX_DRIVER_ROOT']));
  return checks.map(({ name, status, found, hint }) => ({
    level: status === 'ok' || status === 'problem' ? status : 'note',
    what: name,
    found,
    ...(hint === undefined ? {} : { advice: hint }),
  }));
}
