import { UnsupportedError } from '../../base/index.js';
import { defineCommand } from '../command.js';

export const command = defineCommand({
  name: 'search',
  usage: '[OPTIONS] TERM',
  summary: 'Search for images (not supported)',
  options: {},
  args: { max: Number.POSITIVE_INFINITY },
  rootless: true,
  async run() {
    throw new UnsupportedError('nsbox does not search registries: the distribution spec has no search', {
      hint: 'search on the web page of the registry, then `nsbox pull NAME`',
    });
  },
});
