import type { Command } from './command.js';

/** Rows of the command table. See command.ts for how to add one. */
export interface CommandEntry {
  /** Every full spelling, the main one first. */
  readonly paths: readonly string[];
  readonly summary: string;
  /** Listed first by `nsbox --help`. */
  readonly common?: boolean;
  /** Evaluated when the command is asked for, never before. */
  readonly load: () => Promise<{ command: Command }>;
}

export const GROUPS: Readonly<Record<string, string>> = {
  cdi: 'Manage devices of the Container Device Interface',
  container: 'Manage containers',
  healthcheck: 'Manage health checks of containers',
  image: 'Manage images',
  network: 'Manage networks',
  system: 'Manage nsbox',
  volume: 'Manage volumes',
};

export const COMMANDS: readonly CommandEntry[] = [
  {
    paths: ['run', 'container run'],
    summary: 'Create and run a new container from an image',
    common: true,
    load: () => import('./commands/run.js'),
  },
  {
    paths: ['exec', 'container exec'],
    summary: 'Execute a command in a running container',
    common: true,
    load: () => import('./commands/exec.js'),
  },
  {
    paths: ['ps', 'container ls', 'container list', 'container ps'],
    summary: 'List containers',
    common: true,
    load: () => import('./commands/ps.js'),
  },
  {
    paths: ['attach', 'container attach'],
    summary: 'Attach local standard input, output, and error streams to a running container',
    load: () => import('./commands/attach.js'),
  },
  {
    paths: ['bench'],
    summary: 'Measure what containers cost on this machine',
    load: () => import('./commands/bench.js'),
  },
  {
    paths: ['cp', 'container cp'],
    summary: 'Copy files/folders between a container and the local filesystem',
    load: () => import('./commands/cp.js'),
  },
  {
    paths: ['create', 'container create'],
    summary: 'Create a new container',
    load: () => import('./commands/create.js'),
  },
  {
    paths: ['diff', 'container diff'],
    summary: "Inspect changes to files or directories on a container's filesystem",
    load: () => import('./commands/diff.js'),
  },
  {
    paths: ['doctor'],
    summary: 'Check whether this machine can run containers, and say what to do',
    load: () => import('./commands/doctor.js'),
  },
  {
    paths: ['events', 'system events'],
    summary: 'Get real time events',
    load: () => import('./commands/events.js'),
  },
  {
    paths: ['explain'],
    summary: 'Print what `nsbox run` would do, step by step, without doing it',
    load: () => import('./commands/explain.js'),
  },
  {
    paths: ['export', 'container export'],
    summary: "Export a container's filesystem as a tar archive",
    load: () => import('./commands/export.js'),
  },
  {
    paths: ['system df'],
    summary: 'Show disk usage',
    load: () => import('./commands/system-df.js'),
  },
  {
    paths: ['system install-runtime'],
    summary: 'Make containerd, CRI-O, podman and Docker know nsbox-oci',
    load: () => import('./commands/system-install-runtime.js'),
  },
  {
    paths: ['oci'],
    summary: 'The OCI runtime command line, as bin/nsbox-oci has it',
    load: () => import('./commands/oci.js'),
  },
  {
    paths: ['system prune'],
    summary: 'Remove unused data',
    load: () => import('./commands/system-prune.js'),
  },
  {
    paths: ['commit', 'container commit'],
    summary: "Create a new image from a container's changes",
    load: () => import('./commands/commit.js'),
  },
  {
    paths: ['info', 'system info'],
    summary: 'Display system-wide information',
    common: true,
    load: () => import('./commands/info.js'),
  },
  {
    paths: ['inspect', 'container inspect'],
    summary: 'Return low-level information on containers, images, volumes and networks',
    load: () => import('./commands/inspect.js'),
  },
  {
    paths: ['healthcheck run'],
    summary: 'Run the health check of a container',
    load: () => import('./commands/healthcheck-run.js'),
  },
  {
    paths: ['kill', 'container kill'],
    summary: 'Kill one or more running containers',
    load: () => import('./commands/kill.js'),
  },
  {
    paths: ['logs', 'container logs'],
    summary: 'Fetch the logs of a container',
    load: () => import('./commands/logs.js'),
  },
  {
    paths: ['pause', 'container pause'],
    summary: 'Pause all processes within one or more containers',
    load: () => import('./commands/pause.js'),
  },
  {
    paths: ['rename', 'container rename'],
    summary: 'Rename a container',
    load: () => import('./commands/rename.js'),
  },
  {
    paths: ['restart', 'container restart'],
    summary: 'Restart one or more containers',
    load: () => import('./commands/restart.js'),
  },
  {
    paths: ['rm', 'container rm', 'container remove'],
    summary: 'Remove one or more containers',
    load: () => import('./commands/rm.js'),
  },
  {
    paths: ['start', 'container start'],
    summary: 'Start one or more stopped containers',
    load: () => import('./commands/start.js'),
  },
  {
    paths: ['stop', 'container stop'],
    summary: 'Stop one or more running containers',
    load: () => import('./commands/stop.js'),
  },
  {
    paths: ['unpause', 'container unpause'],
    summary: 'Unpause all processes within one or more containers',
    load: () => import('./commands/unpause.js'),
  },
  {
    paths: ['wait', 'container wait'],
    summary: 'Block until one or more containers stop, then print their exit codes',
    load: () => import('./commands/wait.js'),
  },
  {
    paths: ['container prune'],
    summary: 'Remove all stopped containers',
    load: () => import('./commands/container-prune.js'),
  },
  {
    paths: ['volume create'],
    summary: 'Create a volume',
    load: () => import('./commands/volume-create.js'),
  },
  {
    paths: ['volume inspect'],
    summary: 'Display detailed information on one or more volumes',
    load: () => import('./commands/volume-inspect.js'),
  },
  {
    paths: ['volume ls', 'volume list'],
    summary: 'List volumes',
    load: () => import('./commands/volume-ls.js'),
  },
  {
    paths: ['volume prune'],
    summary: 'Remove unused local volumes',
    load: () => import('./commands/volume-prune.js'),
  },
  {
    paths: ['volume rm', 'volume remove'],
    summary: 'Remove one or more volumes',
    load: () => import('./commands/volume-rm.js'),
  },
  {
    paths: ['version'],
    summary: 'Show the nsbox version information',
    common: true,
    load: () => import('./commands/version.js'),
  },
  {
    paths: ['stats', 'container stats'],
    summary: 'Display a live stream of container(s) resource usage statistics',
    load: () => import('./commands/stats.js'),
  },
  {
    paths: ['top', 'container top'],
    summary: 'Display the running processes of a container',
    load: () => import('./commands/top.js'),
  },
  {
    paths: ['update', 'container update'],
    summary: 'Update configuration of one or more containers',
    load: () => import('./commands/update.js'),
  },
  {
    paths: ['metrics'],
    summary: 'Serve resource usage of all containers to Prometheus',
    load: () => import('./commands/metrics.js'),
  },
  {
    paths: ['cdi list', 'cdi ls'],
    summary: 'List the devices of the Container Device Interface',
    load: () => import('./commands/cdi-list.js'),
  },
  {
    paths: ['cdi generate'],
    summary: "Write a CDI specification of this host's GPUs for other container engines",
    load: () => import('./commands/cdi-generate.js'),
  },
  {
    paths: ['network create'],
    summary: 'Create a network',
    load: () => import('./commands/network-create.js'),
  },
  {
    paths: ['network ls', 'network list'],
    summary: 'List networks',
    load: () => import('./commands/network-ls.js'),
  },
  {
    paths: ['network inspect'],
    summary: 'Display detailed information on one or more networks',
    load: () => import('./commands/network-inspect.js'),
  },
  {
    paths: ['network rm', 'network remove'],
    summary: 'Remove one or more networks',
    load: () => import('./commands/network-rm.js'),
  },
  {
    paths: ['network prune'],
    summary: 'Remove all unused networks',
    load: () => import('./commands/network-prune.js'),
  },
  {
    paths: ['network connect'],
    summary: 'Connect a container to a network',
    load: () => import('./commands/network-connect.js'),
  },
  {
    paths: ['network disconnect'],
    summary: 'Disconnect a container from a network',
    load: () => import('./commands/network-disconnect.js'),
  },
  {
    paths: ['network reload'],
    summary: 'Rebuild missing bridges and the nftables rules of all networks from their records',
    load: () => import('./commands/network-reload.js'),
  },
  {
    paths: ['port', 'container port'],
    summary: 'List port mappings or a specific mapping for the container',
    load: () => import('./commands/port.js'),
  },
  {
    paths: ['images', 'image ls', 'image list'],
    summary: 'List images',
    common: true,
    load: () => import('./commands/images.js'),
  },
  {
    paths: ['load', 'image load'],
    summary: 'Load images from an archive, an OCI layout or standard input',
    load: () => import('./commands/load.js'),
  },
  {
    paths: ['import', 'image import'],
    summary: 'Make an image from the tar or directory of a root filesystem',
    load: () => import('./commands/import.js'),
  },
  {
    paths: ['tag', 'image tag'],
    summary: 'Give an image another name',
    load: () => import('./commands/tag.js'),
  },
  {
    paths: ['rmi', 'image rm', 'image remove'],
    summary: 'Remove one or more images',
    common: true,
    load: () => import('./commands/rmi.js'),
  },
  {
    paths: ['history', 'image history'],
    summary: 'Show the history of an image',
    load: () => import('./commands/history.js'),
  },
  {
    paths: ['image inspect'],
    summary: 'Display detailed information on one or more images',
    load: () => import('./commands/image-inspect.js'),
  },
  {
    paths: ['image prune'],
    summary: 'Remove unused images',
    load: () => import('./commands/image-prune.js'),
  },
  {
    paths: ['pull', 'image pull'],
    summary: 'Download an image from a registry',
    common: true,
    load: () => import('./commands/pull.js'),
  },
  {
    paths: ['push', 'image push'],
    summary: 'Upload an image to a registry',
    common: true,
    load: () => import('./commands/push.js'),
  },
  {
    paths: ['login'],
    summary: 'Log in to a registry',
    common: true,
    load: () => import('./commands/login.js'),
  },
  {
    paths: ['logout'],
    summary: 'Log out from a registry',
    common: true,
    load: () => import('./commands/logout.js'),
  },
  {
    paths: ['save', 'image save'],
    summary: 'Save images to an archive (streamed to STDOUT by default)',
    load: () => import('./commands/save.js'),
  },
  {
    paths: ['image cp', 'image copy'],
    summary: 'Copy an image between registries, archives, directories and the store',
    load: () => import('./commands/image-cp.js'),
  },
  {
    paths: ['image mount'],
    summary: 'Mount the filesystem of an image read-only, and print where',
    load: () => import('./commands/image-mount.js'),
  },
  {
    paths: ['image unmount', 'image umount'],
    summary: 'Unmount the filesystem of an image',
    load: () => import('./commands/image-unmount.js'),
  },
  {
    paths: ['image verify'],
    summary: 'Read blobs and unpacked layers again and compare them with their digests',
    load: () => import('./commands/image-verify.js'),
  },
  {
    paths: ['search'],
    summary: 'Search for images (not supported)',
    load: () => import('./commands/search.js'),
  },
];

let index: Map<string, CommandEntry> | undefined;

/** The entry of a full spelling such as `run` or `image ls`. */
export function findCommand(path: string): CommandEntry | undefined {
  index ??= new Map(COMMANDS.flatMap((entry) => entry.paths.map((p) => [p, entry] as const)));
  return index.get(path);
}
