/** Flags of Node for a process of ours that stays, or comes again and again: its heap stays small. */
export const LEAN_NODE = ['--max-old-space-size=48', '--max-semi-space-size=1'] as const;
