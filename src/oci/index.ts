export * from './install.js';
export { oci } from './oci.js';
