import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { credentials, loadPackageDefinition, type ServiceClientConstructor } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { install, planInstall } from '../../src/oci/index.js';
import { NSBOX_OCI, OciWorld } from '../support/oci-bundle.js';

/** containerd's CRI, spoken to as the kubelet does, with a RuntimeClass handler that install-runtime has written. */
const have = existsSync('/usr/bin/containerd') && existsSync('/usr/bin/ctr');
const skip = have ? false : 'containerd is not installed';
const directory = mkdtempSync('/tmp/nsbox-test-cri-');
const world = new OciWorld();
const socket = path.join(directory, 'c.sock');
let daemon: ChildProcess | undefined;

type Call = (method: string, request: object) => Promise<Record<string, unknown>>;
let call: Call = () => Promise.reject(new Error('containerd is not up'));

/** An image as `docker save` writes it, of the test's root filesystem. */
function archive(): string {
  const work = path.join(directory, 'image');
  mkdirSync(work);
  assert.equal(spawnSync('tar', ['-C', world.rootfs, '-cf', path.join(work, 'layer.tar'), '.']).status, 0);
  const digest = createHash('sha256')
    .update(readFileSync(path.join(work, 'layer.tar')))
    .digest('hex');
  const config = {
    architecture: 'amd64',
    os: 'linux',
    config: { Cmd: ['/bin/sleep', '1000000'], Env: ['PATH=/bin'] },
    rootfs: { type: 'layers', diff_ids: [`sha256:${digest}`] },
  };
  writeFileSync(path.join(work, 'config.json'), JSON.stringify(config));
  const manifest = [{ Config: 'config.json', RepoTags: ['docker.io/library/box:1'], Layers: ['layer.tar'] }];
  writeFileSync(path.join(work, 'manifest.json'), JSON.stringify(manifest));
  const tar = path.join(directory, 'box.tar');
  assert.equal(
    spawnSync('tar', ['-C', work, '-cf', tar, 'manifest.json', 'config.json', 'layer.tar']).status,
    0,
  );
  return tar;
}

before(async () => {
  if (!have) return;
  const config = path.join(directory, 'etc/containerd/config.toml');
  mkdirSync(path.dirname(config), { recursive: true });
  writeFileSync(
    config,
    [
      'version = 2',
      `root = "${directory}/root"`,
      `state = "${directory}/state"`,
      '[grpc]',
      `  address = "${socket}"`,
      '[plugins."io.containerd.grpc.v1.cri"]',
      '  sandbox_image = "docker.io/library/box:1"',
      '  restrict_oom_score_adj = true',
      '  stream_server_port = "0"',
    ].join('\n'),
  );
  install(planInstall({ binary: NSBOX_OCI, engines: ['containerd'], prefix: directory }));
  daemon = spawn('containerd', ['-c', config], { stdio: 'ignore' });
  const ctr = (...args: string[]) =>
    spawnSync('ctr', ['-a', socket, '-n', 'k8s.io', ...args], { timeout: 30_000 });
  await world.until(() => ctr('version').status === 0, 'containerd');
  assert.equal(ctr('images', 'import', archive()).status, 0);
  const proto = path.resolve(import.meta.dirname, '../../../../test/fixtures/cri.proto');
  const definition = loadPackageDefinition(
    loadSync(proto, { keepCase: true, longs: Number, defaults: true }),
  );
  const { v1 } = definition['runtime'] as unknown as { v1: { RuntimeService: ServiceClientConstructor } };
  const client = new v1.RuntimeService(`unix://${socket}`, credentials.createInsecure());
  call = (method, request) =>
    new Promise((resolve, reject) => {
      const fn = client[method] as (
        r: object,
        done: (e: Error | null, v: Record<string, unknown>) => void,
      ) => void;
      fn.call(client, request, (error, value) => (error ? reject(error) : resolve(value)));
    });
});
after(async () => {
  if (daemon) {
    const gone = new Promise((resolve) => daemon?.on('exit', resolve));
    daemon.kill();
    await gone;
  }
  // The daemon leaves the mounts of its pods where one was not removed.
  const mounts = readFileSync('/proc/mounts', 'utf8')
    .split('\n')
    .map((l) => l.split(' ')[1] ?? '');
  for (const m of mounts.filter((m) => m.startsWith(`${directory}/`)).reverse())
    spawnSync('umount', ['-l', m]);
  // The pod's parent is the kubelet's to remove.
  for (const d of ['.', ...readdirSync('/sys/fs/cgroup')]) {
    const group = path.join('/sys/fs/cgroup', d, `nsbox-test-${process.pid}`);
    if (existsSync(group)) rmdirSync(group);
  }
  rmSync(directory, { recursive: true, force: true });
  world.close();
});

test('a pod: sandbox with a runtime handler, container, exec, log, stats, stop', { skip }, async () => {
  // 2: the node's. The pod's own network would need CNI plugins on this machine.
  const namespace_options = { network: 2, pid: 1, ipc: 0 };
  const pod = {
    metadata: { name: 'pod', uid: `u-${process.pid}`, namespace: 'default' },
    log_directory: path.join(directory, 'logs'),
    linux: { cgroup_parent: `/nsbox-test-${process.pid}`, security_context: { namespace_options } },
  };
  mkdirSync(pod.log_directory);
  const { pod_sandbox_id } = await call('RunPodSandbox', { config: pod, runtime_handler: 'nsbox' });
  const { container_id } = await call('CreateContainer', {
    pod_sandbox_id,
    sandbox_config: pod,
    config: {
      metadata: { name: 'one' },
      image: { image: 'docker.io/library/box:1' },
      command: ['sh', '-c', 'echo to the log; trap "exit 9" TERM; while :; do sleep 0.1; done'],
      log_path: 'one.log',
      linux: { resources: { memory_limit_in_bytes: 64 << 20 }, security_context: { namespace_options } },
    },
  });
  await call('StartContainer', { container_id });
  const status = async () =>
    (await call('ContainerStatus', { container_id }))['status'] as { state: number; exit_code: number };
  assert.equal((await status()).state, 1, 'CONTAINER_RUNNING');
  const exec = await call('ExecSync', {
    container_id,
    cmd: ['sh', '-c', 'echo inside; echo oops >&2; exit 3'],
    timeout: 10,
  });
  assert.deepEqual(
    [String(exec['stdout']), String(exec['stderr']), exec['exit_code']],
    ['inside\n', 'oops\n', 3],
  );
  const log = path.join(pod.log_directory, 'one.log');
  await world.until(
    () => existsSync(log) && /stdout F to the log/.test(readFileSync(log, 'utf8')),
    'the log',
  );
  const stats = (await call('ContainerStats', { container_id }))['stats'] as {
    memory: { working_set_bytes: { value: number } };
  };
  assert.ok(stats.memory.working_set_bytes.value > 0);
  const running = spawnSync(NSBOX_OCI, ['--root', path.join('/run/containerd/runc/k8s.io'), 'list', '-q'], {
    encoding: 'utf8',
  });
  assert.ok(running.stdout.includes(String(container_id)), 'it runs in nsbox-oci');
  await call('StopContainer', { container_id, timeout: 10 });
  assert.deepEqual([(await status()).state, (await status()).exit_code], [2, 9]);
  await call('RemoveContainer', { container_id });
  await call('StopPodSandbox', { pod_sandbox_id });
  await call('RemovePodSandbox', { pod_sandbox_id });
});

test('a handler that is not configured is refused', { skip }, async () => {
  const config = { metadata: { name: 'x', uid: 'y', namespace: 'z' } };
  await assert.rejects(
    call('RunPodSandbox', { config, runtime_handler: 'nosuch' }),
    /no runtime for "nosuch" is configured/,
  );
});
