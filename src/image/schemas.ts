import { shape as z } from '../spec/index.js';

/** Documents of image-spec and of Docker's archives, as far as nsbox reads them. */

const digest = z.string().check(z.matches(/^sha256:[0-9a-f]{64}$/, 'expected a sha256 digest'));
const size = z.integer(0);

const platform = z.looseObject({
  architecture: z.string(),
  os: z.string(),
  variant: z.optional(z.string()),
  'os.version': z.optional(z.string()),
});

const descriptor = z.looseObject({
  mediaType: z.string(),
  digest,
  size,
  urls: z.optional(z.array(z.string())),
  annotations: z.optional(z.record(z.string())),
  platform: z.optional(platform),
});

export const manifestSchema = z.looseObject({
  schemaVersion: z.oneOf([2]),
  mediaType: z.optional(z.string()),
  config: descriptor,
  layers: z.array(descriptor),
  annotations: z.optional(z.record(z.string())),
});

export const indexSchema = z.looseObject({
  schemaVersion: z.oneOf([2]),
  mediaType: z.optional(z.string()),
  manifests: z.array(descriptor),
});

/** manifest.json of `docker save`. */
export const dockerArchiveSchema = z.array(
  z.looseObject({
    Config: z.string(),
    RepoTags: z.optional(z.array(z.string())),
    Layers: z.array(z.string()),
  }),
);
