import { defineCommand } from '../command.js';

export const command = defineCommand({
  name: 'healthcheck run',
  usage: 'CONTAINER',
  summary: 'Run the health check of a container',
  details: `The check runs once, now, and its result counts like those of the checks that nsbox runs at the container's
interval. The exit code is 0 where it succeeded, 1 where it failed (the status is printed then), and 125 where there was
nothing to check.`,
  options: {},
  args: { min: 1, max: 1 },
  failure: 125,
  async run({ args }, io, ctx) {
    const { findContainer } = await import('../../engine/index.js');
    const { checkHealth } = await import('../../engine/health-check.js');
    const { result, health } = await checkHealth(ctx, findContainer(ctx, args[0]!));
    if (result.ExitCode === 0) return 0;
    io.out(`${health.Status === 'starting' ? 'starting' : 'unhealthy'}\n`);
    return 1;
  },
});
