import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { credentials, loadPackageDefinition, type ServiceClientConstructor } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { packageRoot } from '../../src/base/index.js';
import { install, planInstall } from '../../src/oci/index.js';
import { type EngineHost, eventually, type Place } from './engine-host.js';
import { NSBOX_OCI, OciWorld, type Result } from './oci-bundle.js';

const IMAGE = 'docker.io/library/box:1';
/** What containerd needs of CNI: the plugins that its network names, and loopback for every pod. */
const PLUGINS = ['bridge', 'host-local', 'loopback'];
export const CNI_PLUGINS = PLUGINS.map((p) => `/usr/lib/cni/${p}`);

/** The kubelet's defaults: network and IPC of the pod, process ids of each container. */
const namespace_options = { network: 0, pid: 1, ipc: 0 };
const seccomp = { profile_type: 0 };

type Reply = Record<string, unknown>;

/**
 * What containerd's CRI of any version must do as the kubelet asks it, with a RuntimeClass handler that install-runtime
 * has written and pods on a CNI network; asked in a network of its own.
 */
export function criTests(place: Place): void {
  describe('CRI', () => suite(place));
}

function suite(place: Place): void {
  const world = new OciWorld();
  const { directory } = world;
  const socket = path.join(directory, 'c.sock');
  const leases = path.join(directory, 'cni-leases');
  const logs = path.join(directory, 'logs');
  const group = `nsbox-test-${path.basename(directory)}`;
  let host: EngineHost | undefined;
  let call: (method: string, request: object) => Promise<Reply>;

  before(async () => {
    host = await place(directory);
    const config = path.join(directory, 'etc/containerd/config.toml');
    const network = { bin_dir: path.join(directory, 'cni-bin'), conf_dir: path.join(directory, 'cni-conf') };
    for (const d of [path.dirname(config), logs, network.bin_dir, network.conf_dir])
      mkdirSync(d, { recursive: true });
    for (const p of CNI_PLUGINS) copyFileSync(p, path.join(network.bin_dir, path.basename(p)));
    writeFileSync(path.join(network.conf_dir, '10-pods.conflist'), JSON.stringify(podNetwork(leases)));
    writeFileSync(config, configuration(directory, socket, network));
    install(planInstall({ binary: NSBOX_OCI, engines: ['containerd'], prefix: directory }));
    const ctr = (...args: string[]): Result => host!.call(['ctr', '-a', socket, '-n', 'k8s.io', ...args]);
    await host.daemon(
      ['containerd', '-c', config],
      `${directory}/containerd.log`,
      () => ctr('version').code === 0,
    );
    const imported = ctr('images', 'import', archive(world));
    assert.equal(imported.code, 0, imported.stderr);
    call = connect(socket);
  });
  after(async () => {
    await host?.close();
    // The pods' parent is the kubelet's to remove.
    for (const d of ['.', ...readdirSync('/sys/fs/cgroup')]) {
      try {
        rmdirSync(path.join('/sys/fs/cgroup', d, group));
      } catch {
        // not in this hierarchy
      }
    }
    world.close();
  });

  const podConfig = (name: string) => ({
    metadata: { name, uid: `uid-${name}`, namespace: 'default' },
    hostname: name,
    log_directory: logs,
    dns_config: { servers: ['10.96.0.10'], searches: ['default.svc.cluster.local'], options: ['ndots:5'] },
    labels: { app: name },
    linux: {
      cgroup_parent: `/${group}`,
      security_context: { namespace_options, seccomp },
      sysctls: { 'net.ipv4.ip_unprivileged_port_start': '80' },
    },
  });
  const runPod = async (name: string) => {
    const config = podConfig(name);
    const { pod_sandbox_id } = await call('RunPodSandbox', { config, runtime_handler: 'nsbox' });
    return { config, pod_sandbox_id: String(pod_sandbox_id) };
  };
  type Pod = Awaited<ReturnType<typeof runPod>>;
  const podStatus = async ({ pod_sandbox_id }: { pod_sandbox_id: string }) =>
    (await call('PodSandboxStatus', { pod_sandbox_id }))['status'] as {
      state: number;
      network: { ip: string };
      runtime_handler: string;
    };
  /** Creates and starts a container as the kubelet does; the id is returned. */
  const start = async (pod: Pod, name: string, script: string, more: object = {}, security: object = {}) => {
    const { container_id } = await call('CreateContainer', {
      pod_sandbox_id: pod.pod_sandbox_id,
      sandbox_config: pod.config,
      config: {
        metadata: { name },
        image: { image: IMAGE },
        command: ['sh', '-c'],
        args: [script],
        log_path: `${name}.log`,
        linux: {
          resources: { cpu_shares: 256, memory_limit_in_bytes: 64 << 20, oom_score_adj: 1000 },
          security_context: { namespace_options, seccomp, no_new_privs: true, ...security },
        },
        ...more,
      },
    });
    await call('StartContainer', { container_id });
    return String(container_id);
  };
  const status = async (container_id: string) =>
    (await call('ContainerStatus', { container_id }))['status'] as { state: number; exit_code: number };
  const exec = async (container_id: string, script: string) => {
    const r = await call('ExecSync', { container_id, cmd: ['sh', '-c', script], timeout: 10 });
    return { stdout: String(r['stdout']), stderr: String(r['stderr']), code: r['exit_code'] };
  };
  const log = (name: string) => readFileSync(path.join(logs, `${name}.log`), 'utf8');
  const removePod = async ({ pod_sandbox_id }: Pod) => {
    await call('StopPodSandbox', { pod_sandbox_id });
    await call('RemovePodSandbox', { pod_sandbox_id });
  };
  const addresses = () => readdirSync(path.join(leases, 'pods')).filter((f) => /^\d+\./.test(f)).length;

  test('the runtime and its network are ready', async () => {
    const { conditions } = (await call('Status', {}))['status'] as {
      conditions: { type: string; status: boolean; message: string }[];
    };
    for (const c of conditions) assert.ok(c.status, `${c.type}: ${c.message}`);
  });

  test('a pod: sandbox with a runtime handler, container, exec, log, stats, update, stop, remove', async () => {
    const pod = await runPod('one');
    assert.deepEqual(
      [(await podStatus(pod)).state, (await podStatus(pod)).runtime_handler],
      [0, 'nsbox'],
      'SANDBOX_READY',
    );
    const script = 'echo to the log; echo warn >&2; trap "exit 9" TERM; while :; do sleep 0.1; done';
    const id = await start(pod, 'main', script);
    assert.equal((await status(id)).state, 1, 'CONTAINER_RUNNING');
    assert.deepEqual(await exec(id, 'echo inside; echo oops >&2; exit 3'), {
      stdout: 'inside\n',
      stderr: 'oops\n',
      code: 3,
    });
    await assert.rejects(
      call('ExecSync', { container_id: id, cmd: ['nosuch'], timeout: 10 }),
      /executable file not found in \$PATH/,
    );
    await assert.rejects(
      call('ExecSync', { container_id: id, cmd: ['sleep', '100'], timeout: 1 }),
      /deadline exceeded|timeout/i,
    );
    await eventually(
      () => / stdout F to the log\n/.test(log('main')) && / stderr F warn\n/.test(log('main')),
      () => `log: ${log('main')}`,
    );
    const stats = (await call('ContainerStats', { container_id: id }))['stats'] as {
      cpu: { usage_core_nano_seconds: { value: number } };
      memory: { working_set_bytes: { value: number } };
    };
    assert.ok(stats.memory.working_set_bytes.value > 0);
    assert.ok(stats.cpu.usage_core_nano_seconds.value > 0);
    const limit =
      'cat $(ls /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null)';
    assert.equal((await exec(id, limit)).stdout, `${64 << 20}\n`);
    const linux = { cpu_shares: 512, memory_limit_in_bytes: 96 << 20 };
    await call('UpdateContainerResources', { container_id: id, linux });
    assert.equal((await exec(id, limit)).stdout, `${96 << 20}\n`);
    await call('ReopenContainerLog', { container_id: id });
    const list = host!.call([NSBOX_OCI, '--root', '/run/containerd/runc/k8s.io', 'list', '-q']);
    assert.ok(list.stdout.includes(id) && list.stdout.includes(pod.pod_sandbox_id), 'both run in nsbox-oci');
    await call('StopContainer', { container_id: id, timeout: 10 });
    assert.deepEqual([(await status(id)).state, (await status(id)).exit_code], [2, 9]);
    await call('RemoveContainer', { container_id: id });
    await removePod(pod);
    for (const [method, key] of [
      ['ListContainers', 'containers'],
      ['ListPodSandbox', 'items'],
    ] as const)
      assert.deepEqual((await call(method, {}))[key] ?? [], [], `${method} shows nothing`);
  });

  test('pods on the CNI network: an address each, containers of a pod share it, it is given back', async () => {
    const [web, other] = [await runPod('web'), await runPod('other')];
    const { ip } = (await podStatus(web)).network;
    assert.match(ip, /^10\.88\.9\.\d+$/);
    assert.notEqual((await podStatus(other)).network.ip, ip);
    // A user of no privilege listens at port 80, which the pod's sysctl allows.
    const serve = 'while :; do echo served | busybox nc -l -p 80; done';
    const server = await start(web, 'server', serve, {}, { run_as_user: { value: 1000 } });
    const beside = await start(web, 'beside', 'sleep 1000');
    const client = await start(other, 'client', 'sleep 1000');
    const ask = async (from: string, at: string) => {
      let answer = '';
      for (let i = 0; i < 100 && answer === ''; i++) {
        answer = (await exec(from, `busybox nc -w 5 ${at} 80 </dev/null 2>/dev/null`)).stdout;
        if (answer === '') await new Promise((resolve) => setTimeout(resolve, 100));
      }
      return answer;
    };
    assert.equal(await ask(beside, '127.0.0.1'), 'served\n', 'over the localhost of the pod');
    assert.equal(await ask(client, ip), 'served\n', 'from another pod');
    const { stdout } = await exec(beside, 'hostname; cat /etc/resolv.conf; busybox ip -o -4 addr show eth0');
    assert.match(
      stdout,
      /^web\nsearch default\.svc\.cluster\.local\nnameserver 10\.96\.0\.10\noptions ndots:5\n/,
    );
    assert.ok(stdout.includes(ip));
    assert.equal((await exec(server, 'id -u')).stdout, '1000\n');
    assert.equal(addresses(), 2);
    await removePod(web);
    await removePod(other);
    assert.equal(addresses(), 0, 'no address stays taken');
    const links = spawnSync('ip', ['-o', 'link', 'show', 'type', 'veth'], { encoding: 'utf8' }).stdout;
    assert.equal(links, '', 'no link stays');
  });

  test('a security context: user, groups, capabilities, seccomp, read-only root, mounts, environment', async () => {
    const pod = await runPod('safe');
    const data = path.join(directory, 'volume');
    mkdirSync(data);
    writeFileSync(path.join(data, 'f'), 'of the volume\n');
    const script = [
      'echo $A $(pwd) $(id -u):$(id -g); id -G; cat /data/f; touch /data/x 2>/dev/null || echo volume ro',
      'touch /x 2>/dev/null || echo root ro',
      'grep -E "^(CapEff|NoNewPrivs|Seccomp):" /proc/self/status; cat /proc/self/oom_score_adj',
      'wc -c < /proc/timer_list 2>/dev/null',
    ].join('; ');
    const id = await start(
      pod,
      'safe',
      script,
      {
        envs: [{ key: 'A', value: 'b' }],
        working_dir: '/tmp',
        mounts: [{ container_path: '/data', host_path: data, readonly: true }],
      },
      {
        run_as_user: { value: 7 },
        run_as_group: { value: 8 },
        supplemental_groups: [9],
        capabilities: { drop_capabilities: ['ALL'] },
        readonly_rootfs: true,
        masked_paths: ['/proc/timer_list'],
        readonly_paths: ['/proc/sys'],
      },
    );
    for (let i = 0; (await status(id)).state !== 2 && i < 300; i++)
      await new Promise((resolve) => setTimeout(resolve, 100));
    const lines = log('safe')
      .split('\n')
      .map((l) => l.split(' ').slice(3).join(' '));
    assert.deepEqual(lines, [
      'b /tmp 7:8',
      '8 9',
      'of the volume',
      'volume ro',
      'root ro',
      'CapEff:\t0000000000000000',
      'NoNewPrivs:\t1',
      'Seccomp:\t2',
      '1000',
      '0',
      '',
    ]);
    await call('RemoveContainer', { container_id: id });
    await removePod(pod);
  });

  test('what cannot start is named, and its pod goes all the same', async () => {
    const pod = await runPod('bad');
    await assert.rejects(
      start(pod, 'bad', '', { command: ['nosuch'], args: [] }),
      /executable file not found in \$PATH/,
    );
    await removePod(pod);
    await assert.rejects(
      call('RunPodSandbox', { config: podConfig('x'), runtime_handler: 'nosuch' }),
      /no runtime for "nosuch" is configured/,
    );
    assert.equal(addresses(), 0, 'no address stays taken');
  });
}

function connect(socket: string): (method: string, request: object) => Promise<Reply> {
  const proto = path.join(packageRoot(), 'test/fixtures/cri.proto');
  const definition = loadPackageDefinition(
    loadSync(proto, { keepCase: true, longs: Number, defaults: true }),
  );
  const { v1 } = definition['runtime'] as unknown as { v1: { RuntimeService: ServiceClientConstructor } };
  const client = new v1.RuntimeService(`unix://${socket}`, credentials.createInsecure());
  type Method = (r: object, done: (e: Error | null, v: Reply) => void) => void;
  return (method, request) =>
    new Promise((resolve, reject) => {
      (client[method] as Method).call(client, request, (error, value) =>
        error ? reject(error) : resolve(value),
      );
    });
}

function configuration(
  directory: string,
  socket: string,
  network: { bin_dir: string; conf_dir: string },
): string {
  return [
    'version = 2',
    `root = "${directory}/containerd-root"`,
    `state = "${directory}/containerd-state"`,
    '[grpc]',
    `  address = "${socket}"`,
    '[plugins."io.containerd.grpc.v1.cri"]',
    `  sandbox_image = "${IMAGE}"`,
    '  restrict_oom_score_adj = true',
    '  stream_server_port = "0"',
    '[plugins."io.containerd.grpc.v1.cri".cni]',
    `  bin_dir = "${network.bin_dir}"`,
    `  conf_dir = "${network.conf_dir}"`,
  ].join('\n');
}

/** A bridge with addresses of its own, as a node of a cluster has it. */
function podNetwork(leases: string): object {
  const ipam = {
    type: 'host-local',
    dataDir: leases,
    ranges: [[{ subnet: '10.88.9.0/24' }]],
    routes: [{ dst: '0.0.0.0/0' }],
  };
  return {
    cniVersion: '0.4.0',
    name: 'pods',
    plugins: [{ type: 'bridge', bridge: 'pods0', isGateway: true, ipam }],
  };
}

/** An image as `docker save` writes it, of the test's root filesystem. */
function archive(world: OciWorld): string {
  const work = path.join(world.directory, 'image');
  mkdirSync(work);
  const layer = path.join(work, 'layer.tar');
  assert.equal(spawnSync('tar', ['-C', world.rootfs, '-cf', layer, '.']).status, 0);
  const digest = createHash('sha256').update(readFileSync(layer)).digest('hex');
  const config = {
    architecture: { x64: 'amd64', arm64: 'arm64' }[process.arch as string] ?? process.arch,
    os: 'linux',
    config: { Cmd: ['/bin/sleep', '1000000'], Env: ['PATH=/bin'] },
    rootfs: { type: 'layers', diff_ids: [`sha256:${digest}`] },
  };
  writeFileSync(path.join(work, 'config.json'), JSON.stringify(config));
  const manifest = [{ Config: 'config.json', RepoTags: [IMAGE], Layers: ['layer.tar'] }];
  writeFileSync(path.join(work, 'manifest.json'), JSON.stringify(manifest));
  const tar = path.join(world.directory, 'box.tar');
  const made = spawnSync('tar', ['-C', work, '-cf', tar, 'manifest.json', 'config.json', 'layer.tar']);
  assert.equal(made.status, 0);
  return tar;
}
