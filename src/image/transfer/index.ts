export { type CopyOptions, copyImage } from './copy.js';
export { type Place, parsePlace, placeText } from './transport.js';
