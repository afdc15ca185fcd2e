export { contains, parseAddress, parseCidr } from './address.js';
export type { NetworkFiles } from './files.js';
export { Networks, openNetworks } from './networks.js';
export type {
  CreateNetworkOptions,
  Endpoint,
  NetworkDriver,
  NetworkRecord,
  NetworkSettings,
  PortBinding,
  PrepareOptions,
  SubnetRecord,
} from './types.js';
