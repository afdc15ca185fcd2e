import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import path from 'node:path';
import { type Context, packageRoot } from '../base/index.js';
import { ensureDirectory } from '../state/index.js';
import { importImage } from './import.js';
import { storePaths } from './paths.js';
import { findImage, type ImageRecord, readTag } from './records.js';

/** The image that is always there: our own static program (native/hello), made on first need. */
const HELLO = 'docker.io/library/hello:latest';

export function isHello(name: string): boolean {
  return /^(docker\.io\/library\/)?hello(:latest)?$/.test(name);
}

/** Makes `hello` unless it is there; undefined where its program isn't built. */
export async function ensureHello(ctx: Context): Promise<ImageRecord | undefined> {
  if (readTag(ctx, HELLO)) return findImage(ctx, HELLO).record;
  const program = path.join(packageRoot(), 'build/Release/hello');
  if (!existsSync(program)) return undefined;
  ensureDirectory(storePaths.ingest(ctx));
  const directory = mkdtempSync(path.join(storePaths.ingest(ctx), 'hello-'));
  try {
    mkdirSync(path.join(directory, 'root'), { mode: 0o755 });
    copyFileSync(program, path.join(directory, 'root/hello'));
    return await importImage(
      ctx,
      { path: path.join(directory, 'root') },
      {
        reference: HELLO,
        message: 'embedded in nsbox',
        config: {
          Cmd: ['/hello'],
          Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
        },
      },
    );
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
