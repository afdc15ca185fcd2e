import type { ContainerRequest, Healthcheck } from '../spec/index.js';

/**
 * On disk, per container (see docs/architecture.md):
 *
 *   <root>/containers/<id>/container.json   this record; written at creation, replaced by rename, update, connect
 *   <root>/containers/<id>/config.json      the OCI runtime spec
 *   <root>/containers/<id>/plan.bin         the encoded plan of the current run (what the monitor replays)
 *   <root>/containers/<id>/{upper,work}     the overlay's writable layer
 *   <root>/containers/<id>/{resolv.conf,hosts,hostname}
 *   <root>/containers/<id>/log.json[.1…]    json-file log
 *   <root>/containers/<id>/exit.json        ExitRecord, durable, written by the monitor
 *   <root>/containers/<id>/health.json      HealthRecord, written by each check of its health
 *   <root>/names/<name>                     symlink whose text is the id: unique by symlink(2)
 *   <state>/containers/<id>/lock            flock held by the monitor while it lives
 *   <state>/containers/<id>/running.json    RunningRecord, written by the monitor
 *   <state>/containers/<id>/poststop.json    PoststopRecord: hooks due at the end, removed when they have run
 *   <state>/containers/<id>/monitor.sock    attach and control socket of the monitor
 *
 * A container runs when the lock is held and running.json says so; nothing depends on pids that could be reused.
 */
export interface ContainerRecord {
  version: 1;
  id: string;
  name: string;
  /** ISO 8601 with nanoseconds-free milliseconds, UTC. */
  created: string;
  request: ContainerRequest;
  /** Absent for a plain rootfs directory. */
  image?: ImageOfContainer | undefined;
  /** Host ids given to the container's user namespace; absent with --userns=host. */
  idRange?: { start: number; size: number } | undefined;
  /** Mount points as `inspect` shows them, volumes resolved to host paths. */
  mounts: MountPoint[];
  /** The effective command: entrypoint and arguments. */
  argv: string[];
  /** The request's health check over the image's; absent where neither has one. */
  healthcheck?: Healthcheck | undefined;
  /** SHELL of the image, which a check in shell form runs in; absent: `/bin/sh -c`. */
  shell?: string[] | undefined;
  /** Path of the cgroup below the hierarchy's root, e.g. /nsbox/<id>. */
  cgroup: string;
  /** Project of its writable layer, with --storage-opt size=. */
  project?: number | undefined;
  /** Set while `rm` is at work; recovery finishes it. */
  removing?: boolean | undefined;
}

export interface ImageOfContainer {
  /** sha256:… of the image config. */
  id: string;
  /** As the user wrote it. */
  reference: string;
  /** Chain IDs from the lowest to the topmost layer. */
  chain: string[];
}

export interface MountPoint {
  type: 'bind' | 'volume' | 'tmpfs';
  /** Volume name. */
  name?: string | undefined;
  source: string;
  destination: string;
  mode: string;
  rw: boolean;
  propagation: string;
  /** An anonymous volume, removed with --rm and `rm -v`. */
  anonymous?: boolean | undefined;
}

/** Written by the monitor when the program has been executed, and while it waits before a restart. */
export interface RunningRecord {
  state: 'running' | 'restarting';
  /** Host pid of the container's pid 1; 0 while restarting. */
  pid: number;
  monitorPid: number;
  startedAt: string;
  restartCount: number;
}

/** Written durably by the monitor at the end of each run. */
export interface ExitRecord {
  /** 0–255; 128+n for a signal; 125–127 where the launch failed. */
  exitCode: number;
  signal: number;
  oomKilled: boolean;
  startedAt: string;
  finishedAt: string;
  restartCount: number;
  /** Why the launch failed, if it did. */
  error?: string | undefined;
}

export type ContainerStatus =
  | 'created'
  | 'running'
  | 'paused'
  | 'restarting'
  | 'exited'
  | 'removing'
  | 'dead';
