import { NsboxError } from '../base/index.js';
import { addon } from './addon.js';
import { MessageBody, Netlink } from './netlink.js';

declare module './addon.js' {
  interface NativeAddon {
    nftRun(commands: string, outputFlags: number): [ok: boolean, output: string, errors: string] | null;
  }
}

const NFNL_SUBSYS_NFTABLES = 10;
const NFT_MSG_GETTABLE = 1;
const NFTA_TABLE_NAME = 1;
const NFPROTO_INET = 1;
const NFT_CTX_OUTPUT_JSON = 1 << 4;
const NFT_CTX_OUTPUT_HANDLE = 1 << 3;

/**
 * Carries out nft commands in this process's network namespace: all of them or none.
 * @returns what they print
 * @throws NsboxError NETWORK with nft's first line of complaint; UNSUPPORTED where libnftables is missing
 * @see libnftables(3), nft(8)
 */
export function nft(commands: string, options: { json?: boolean; handles?: boolean } = {}): string {
  const flags = (options.json ? NFT_CTX_OUTPUT_JSON : 0) | (options.handles ? NFT_CTX_OUTPUT_HANDLE : 0);
  const result = addon().nftRun(commands, flags);
  if (!result) {
    throw new NsboxError('UNSUPPORTED', 'cannot load libnftables.so.1, which networks need', {
      hint: 'install it: `apt-get install libnftables1` (or use --network none or host)',
    });
  }
  const [ok, output, errors] = result;
  if (ok) return output;
  const reason = errors
    .split('\n')[0]!
    .replace(/^.*?Error: /, '')
    .trim();
  throw new NsboxError('NETWORK', `cannot change the nftables rules: ${reason || 'refused'}`, {
    errno: errnoOf(reason),
    syscall: 'nft',
    cause: new Error(errors.trim()),
  });
}

function errnoOf(reason: string): string | undefined {
  if (reason.includes('No such file')) return 'ENOENT';
  if (reason.includes('File exists')) return 'EEXIST';
  if (reason.includes('not permitted')) return 'EPERM';
  return undefined;
}

/** Whether an `inet` table exists: one small question to the kernel, without libnftables (some 15 µs). */
export function nftTableExists(name: string): boolean {
  using socket = new Netlink(undefined, 'netfilter');
  const body = new MessageBody().u8(NFPROTO_INET).u8(0).u16(0);
  body.attrString(NFTA_TABLE_NAME, name);
  const replies = socket.run([
    {
      type: (NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_GETTABLE,
      flags: 0,
      body: body.done(),
      what: `look up the table ${name}`,
      tolerate: ['ENOENT'],
    },
  ]);
  return replies.length > 0;
}
