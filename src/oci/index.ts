export { oci } from './oci.js';
