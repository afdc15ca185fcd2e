export { login, logout } from './login.js';
export { pullAllTags, pullImage } from './pull.js';
export { pushImage } from './push.js';
