export { login, logout } from './login.js';
export { pullAllTags, pullImage } from './pull.js';
export { type PushRequest, pushImage } from './push.js';
