{
  "variables": {
    "native_common": [
      "<!@(ls native/launch/*.cc native/fs/*.cc native/bpf/*.cc 2>/dev/null || true)"
    ],
    "hardened": [
      "-Wall", "-Wextra", "-Werror", "-Wshadow", "-Wno-missing-field-initializers",
      "-fstack-protector-strong", "-D_FORTIFY_SOURCE=2", "-O2", "-std=c++20",
      "-fno-exceptions", "-fno-rtti", "-ffunction-sections", "-fdata-sections"
    ]
  },
  "targets": [
    {
      "target_name": "nsbox",
      "sources": [
        "<!@(ls native/addon/*.cc)",
        "<@(native_common)",
        "<!@(ls native/netlink/*.cc 2>/dev/null || true)"
      ],
      "include_dirs": ["native"],
      "defines": ["NAPI_VERSION=9", "NODE_ADDON_API_DISABLE_CPP_EXCEPTIONS", "_GNU_SOURCE", "_FILE_OFFSET_BITS=64"],
      "cflags_cc!": ["-std=gnu++17", "-std=gnu++20", "-O3"],
      "cflags_cc": ["<@(hardened)", "-isystem", "<!(node -p \"require('path').resolve(require('node-addon-api').include_dir)\")", "-fvisibility=hidden"],
      "ldflags": ["-Wl,-z,relro,-z,now,-z,noexecstack", "-Wl,--gc-sections"],
      "libraries": ["-lseccomp", "-lzstd"]
    },
    {
      "target_name": "nsbox-init",
      "type": "executable",
      "sources": ["<!@(ls native/init/*.cc)", "<@(native_common)"],
      "include_dirs": ["native"],
      "defines": ["_GNU_SOURCE", "_FILE_OFFSET_BITS=64"],
      "cflags!": ["-fPIC"],
      "cflags_cc!": ["-std=gnu++17", "-std=gnu++20", "-O3", "-fPIC"],
      "cflags_cc": ["<@(hardened)", "-fno-asynchronous-unwind-tables"],
      "ldflags!": ["-rdynamic"],
      "ldflags": ["-static", "-Wl,-z,relro,-z,now,-z,noexecstack", "-Wl,--gc-sections", "-s"]
    },
    {
      "target_name": "hello",
      "type": "executable",
      "sources": ["native/hello/hello.c"],
      "cflags!": ["-fPIC"],
      "cflags": ["-Wall", "-Wextra", "-Werror", "-O2"],
      "ldflags!": ["-rdynamic"],
      "ldflags": ["-static", "-s"]
    }
  ]
}
