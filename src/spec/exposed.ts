import type { ImageConfig } from './image-config.js';
import type { ContainerRequest } from './request.js';

/** Ports made known by the image and by `--expose`, as `80/tcp`. */
export function exposedPorts(image: ImageConfig | undefined, request: ContainerRequest): string[] {
  return [...Object.keys(image?.config?.ExposedPorts ?? {}), ...(request.exposed ?? [])];
}
