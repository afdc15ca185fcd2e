import type { Capability } from '../gpus-flag.js';

/**
 * What NVIDIA's driver has in user space, by the capability that needs it. The names are those that the driver's own
 * packages install; what a driver version doesn't have is simply not found.
 * @see the "Installed Components" chapter of the Linux driver's README
 */

/** Libraries: the part of the file name before `.so`. */
export const LIBRARIES: Readonly<Record<string, readonly Capability[]>> = {
  // management
  'libnvidia-ml': ['utility'],
  'libnvidia-cfg': ['utility'],
  'libnvidia-nscq': ['utility'],
  'libnvidia-sandboxutils': ['utility'],
  // CUDA and OpenCL
  libcuda: ['compute'],
  libcudadebugger: ['compute'],
  'libnvidia-opencl': ['compute'],
  'libnvidia-ptxjitcompiler': ['compute'],
  'libnvidia-fatbinaryloader': ['compute'],
  'libnvidia-allocator': ['compute', 'graphics'],
  'libnvidia-compiler': ['compute'],
  'libnvidia-pkcs11': ['compute'],
  'libnvidia-pkcs11-openssl3': ['compute'],
  'libnvidia-nvvm': ['compute'],
  'libnvidia-nvvm70': ['compute'],
  'libnvidia-nvvm4': ['compute'],
  'libnvidia-gpucomp': ['compute', 'graphics'],
  'libnvidia-tileiras': ['compute'],
  // video
  libnvcuvid: ['video'],
  'libnvidia-encode': ['video'],
  'libnvidia-opticalflow': ['video'],
  libvdpau_nvidia: ['video'],
  // OpenGL, EGL, Vulkan, OptiX
  'libnvidia-eglcore': ['graphics'],
  'libnvidia-glcore': ['graphics'],
  'libnvidia-tls': ['graphics'],
  'libnvidia-glsi': ['graphics'],
  'libnvidia-fbc': ['graphics'],
  'libnvidia-ifr': ['graphics'],
  'libnvidia-rtcore': ['graphics'],
  'libnvidia-glvkspirv': ['graphics'],
  'libnvidia-cbl': ['graphics'],
  'libnvidia-present': ['graphics'],
  'libnvidia-vulkan-producer': ['graphics'],
  'libnvidia-egl-wayland': ['graphics'],
  'libnvidia-egl-wayland2': ['graphics'],
  'libnvidia-egl-gbm': ['graphics'],
  'libnvidia-egl-xcb': ['graphics'],
  'libnvidia-egl-xlib': ['graphics'],
  'libnvidia-api': ['graphics'],
  libnvoptix: ['graphics'],
  libGLX_nvidia: ['graphics'],
  libEGL_nvidia: ['graphics'],
  libGLESv2_nvidia: ['graphics'],
  libGLESv1_CM_nvidia: ['graphics'],
  // DLSS
  'libnvidia-ngx': ['ngx'],
};

/**
 * Names that programs open besides the soname: the development links of libraries that are opened by name at run
 * time, and the one that GLVND looks for where a server names no vendor.
 */
export const EXTRA_LINKS: Readonly<Record<string, readonly string[]>> = {
  libcuda: ['libcuda.so'],
  libnvcuvid: ['libnvcuvid.so'],
  'libnvidia-encode': ['libnvidia-encode.so'],
  'libnvidia-opticalflow': ['libnvidia-opticalflow.so'],
  'libnvidia-ml': ['libnvidia-ml.so'],
  libGLX_nvidia: ['libGLX_indirect.so.0'],
};

/** What CUDA's forward-compatibility packages replace. */
export const COMPAT_LIBRARIES = [
  'libcuda',
  'libcudadebugger',
  'libnvidia-ptxjitcompiler',
  'libnvidia-nvvm',
  'libnvidia-nvvm70',
  'libnvidia-gpucomp',
  'libnvidia-tileiras',
  'libnvidia-pkcs11',
  'libnvidia-pkcs11-openssl3',
];

export const BINARIES: Readonly<Record<string, readonly Capability[]>> = {
  'nvidia-smi': ['utility'],
  'nvidia-debugdump': ['utility'],
  'nvidia-persistenced': ['utility'],
  'nv-fabricmanager': ['utility'],
  'nvidia-cuda-mps-control': ['compute'],
  'nvidia-cuda-mps-server': ['compute'],
  'nvidia-imex': ['compute'],
  'nvidia-imex-ctl': ['compute'],
};

/** Data files. Each is looked for at these places in turn, and put where the container's programs look: the first. */
export const DATA_FILES: readonly { paths: readonly string[]; capabilities: readonly Capability[] }[] = [
  { paths: ['/etc/OpenCL/vendors/nvidia.icd'], capabilities: ['compute'] },
  ...graphics('glvnd/egl_vendor.d/10_nvidia.json'),
  ...graphics('egl/egl_external_platform.d/10_nvidia_wayland.json'),
  ...graphics('egl/egl_external_platform.d/15_nvidia_gbm.json'),
  ...graphics('egl/egl_external_platform.d/20_nvidia_xcb.json'),
  ...graphics('egl/egl_external_platform.d/20_nvidia_xlib.json'),
  ...graphics('nvidia/nvoptix.bin'),
  {
    paths: [
      '/etc/vulkan/icd.d/nvidia_icd.json',
      '/usr/share/vulkan/icd.d/nvidia_icd.json',
      '/usr/share/vulkan/icd.d/nvidia_icd.x86_64.json',
      '/usr/local/nvidia/share/vulkan/icd.d/nvidia_icd.json',
      '/usr/local/nvidia/vulkan/icd.d/nvidia_icd.json',
    ],
    capabilities: ['graphics'],
  },
  {
    paths: [
      '/etc/vulkan/implicit_layer.d/nvidia_layers.json',
      '/usr/share/vulkan/implicit_layer.d/nvidia_layers.json',
      '/usr/local/nvidia/share/vulkan/implicit_layer.d/nvidia_layers.json',
    ],
    capabilities: ['graphics'],
  },
  { paths: ['/usr/share/X11/xorg.conf.d/10-nvidia.conf'], capabilities: ['display'] },
];

/** Sockets and directories of the driver's daemons. */
export const SOCKETS: readonly { paths: readonly string[]; capabilities: readonly Capability[] }[] = [
  {
    paths: ['/run/nvidia-persistenced/socket', '/var/run/nvidia-persistenced/socket'],
    capabilities: ['utility'],
  },
  {
    paths: ['/run/nvidia-fabricmanager/socket', '/var/run/nvidia-fabricmanager/socket'],
    capabilities: ['utility', 'compute'],
  },
  { paths: ['/tmp/nvidia-mps'], capabilities: ['compute'] },
];

/** Nodes beyond the GPUs' own, given where an image or the person asks by this variable, as NVIDIA's toolkit does. */
export const OPTIONAL_NODES: Readonly<Record<string, { directory: string; names: RegExp }[]>> = {
  NVIDIA_NVSWITCH: [{ directory: '/dev', names: /^(nvidia-nvswitch(ctl|\d+)|nvidia-nvlink)$/ }],
  NVIDIA_GDS: [{ directory: '/dev', names: /^nvidia-fs\d*$/ }],
  NVIDIA_GDRCOPY: [{ directory: '/dev', names: /^gdrdrv$/ }],
  NVIDIA_MOFED: [{ directory: '/dev/infiniband', names: /^(uverbs\d+|rdma_cm)$/ }],
};

function graphics(name: string): { paths: string[]; capabilities: Capability[] }[] {
  return [{ paths: [`/usr/share/${name}`, `/usr/local/nvidia/share/${name}`], capabilities: ['graphics'] }];
}

/**
 * The CUDA version that came with each driver branch, for an image's NVIDIA_REQUIRE_CUDA.
 * @see NVIDIA's CUDA toolkit release notes, table "CUDA Toolkit and Corresponding Driver Versions"
 */
export const CUDA_OF_BRANCH: Readonly<Record<number, string>> = {
  418: '10.1',
  440: '10.2',
  450: '11.0',
  455: '11.1',
  460: '11.2',
  465: '11.3',
  470: '11.4',
  495: '11.5',
  510: '11.6',
  515: '11.7',
  520: '11.8',
  525: '12.0',
  530: '12.1',
  535: '12.2',
  545: '12.3',
  550: '12.4',
  555: '12.5',
  560: '12.6',
  565: '12.7',
  570: '12.8',
  575: '12.9',
  580: '13.0',
};
