// What a GPU does for a program: a vector sum checked element by element, copy bandwidth, a matrix product. The driver's
// library alone is used, loaded at run time, so that it builds and ships without any toolkit.
//
// Prints one line of JSON. Exit code: 0 all is well, 1 something is wrong (said on stderr), 2 no driver library.
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int Result;
typedef int Device;
typedef void* Handle;
typedef unsigned long long Pointer;

static const char kProgram[] =
    ".version 6.3\n.target sm_50\n.address_size 64\n"
    // c[i] = a[i] + b[i]
    ".visible .entry vector_add(.param .u64 a, .param .u64 b, .param .u64 c, .param .u32 n)\n{\n"
    ".reg .pred %p; .reg .f32 %f<4>; .reg .b32 %r<6>; .reg .b64 %d<11>;\n"
    "ld.param.u64 %d1, [a];\nld.param.u64 %d2, [b];\nld.param.u64 %d3, [c];\nld.param.u32 %r2, [n];\n"
    "mov.u32 %r3, %ctaid.x;\nmov.u32 %r4, %ntid.x;\nmov.u32 %r5, %tid.x;\nmad.lo.u32 %r1, %r3, %r4, %r5;\n"
    "setp.ge.u32 %p, %r1, %r2;\n@%p bra DONE;\n"
    "cvta.to.global.u64 %d4, %d1;\ncvta.to.global.u64 %d5, %d2;\ncvta.to.global.u64 %d6, %d3;\n"
    "mul.wide.u32 %d7, %r1, 4;\nadd.u64 %d8, %d4, %d7;\nadd.u64 %d9, %d5, %d7;\nadd.u64 %d10, %d6, %d7;\n"
    "ld.global.f32 %f1, [%d8];\nld.global.f32 %f2, [%d9];\nadd.f32 %f3, %f1, %f2;\nst.global.f32 [%d10], "
    "%f3;\n"
    "DONE:\nret;\n}\n"
    // c = a · b for square matrices of n × n, a multiple of the block's side
    ".visible .entry matrix_product(.param .u64 a, .param .u64 b, .param .u64 c, .param .u32 n)\n{\n"
    ".reg .pred %p; .reg .f32 %f<4>; .reg .b32 %r<12>; .reg .b64 %d<12>;\n"
    "ld.param.u64 %d1, [a];\nld.param.u64 %d2, [b];\nld.param.u64 %d3, [c];\nld.param.u32 %r1, [n];\n"
    "mov.u32 %r2, %ctaid.x;\nmov.u32 %r3, %ntid.x;\nmov.u32 %r4, %tid.x;\nmad.lo.u32 %r5, %r2, %r3, %r4;\n"
    "mov.u32 %r6, %ctaid.y;\nmov.u32 %r7, %ntid.y;\nmov.u32 %r8, %tid.y;\nmad.lo.u32 %r9, %r6, %r7, %r8;\n"
    "cvta.to.global.u64 %d4, %d1;\ncvta.to.global.u64 %d5, %d2;\ncvta.to.global.u64 %d6, %d3;\n"
    "mul.lo.u32 %r10, %r9, %r1;\nmul.wide.u32 %d7, %r10, 4;\nadd.u64 %d4, %d4, %d7;\n"
    "mul.wide.u32 %d8, %r5, 4;\nadd.u64 %d5, %d5, %d8;\nadd.u64 %d6, %d6, %d7;\nadd.u64 %d6, %d6, %d8;\n"
    "mul.wide.u32 %d9, %r1, 4;\nmov.f32 %f1, 0f00000000;\nmov.u32 %r11, 0;\n"
    "LOOP:\nld.global.f32 %f2, [%d4];\nld.global.f32 %f3, [%d5];\nfma.rn.f32 %f1, %f2, %f3, %f1;\n"
    "add.u64 %d4, %d4, 4;\nadd.u64 %d5, %d5, %d9;\nadd.u32 %r11, %r11, 1;\n"
    "setp.lt.u32 %p, %r11, %r1;\n@%p bra LOOP;\nst.global.f32 [%d6], %f1;\nret;\n}\n";

static void* library;

static void* find(const char* name) {
  void* symbol = dlsym(library, name);
  if (!symbol) {
    fprintf(stderr, "libcuda has no %s\n", name);
    exit(1);
  }
  return symbol;
}

static void check(Result r, const char* what) {
  if (r == 0) return;
  Result (*text)(Result, const char**) = (Result(*)(Result, const char**))dlsym(library, "cuGetErrorName");
  const char* name = "unknown error";
  if (text) text(r, &name);
  fprintf(stderr, "%s: %s (%d)\n", what, name, r);
  exit(1);
}

#define CALL(name, types, ...) check(((Result(*) types)find(#name))(__VA_ARGS__), #name)

static Pointer allocate(size_t bytes) {
  Pointer p = 0;
  CALL(cuMemAlloc_v2, (Pointer*, size_t), &p, bytes);
  return p;
}

static void launch(Handle kernel, unsigned gx, unsigned gy, unsigned bx, unsigned by, Pointer a, Pointer b,
                   Pointer c, uint32_t n) {
  void* arguments[] = {&a, &b, &c, &n};
  CALL(cuLaunchKernel,
       (Handle, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, Handle, void**, void**),
       kernel, gx, gy, 1, bx, by, 1, 0, NULL, arguments, NULL);
}

static Handle event(void) {
  Handle e = NULL;
  CALL(cuEventCreate, (Handle*, unsigned), &e, 0);
  return e;
}

static void record(Handle e) { CALL(cuEventRecord, (Handle, Handle), e, NULL); }

// Milliseconds between two events, once the second has happened.
static double between(Handle from, Handle to) {
  float ms = 0;
  CALL(cuEventSynchronize, (Handle), to);
  CALL(cuEventElapsedTime, (float*, Handle, Handle), &ms, from, to);
  return ms;
}

static void vector_sum(Handle module) {
  const uint32_t n = 1 << 20;
  Handle kernel = NULL;
  CALL(cuModuleGetFunction, (Handle*, Handle, const char*), &kernel, module, "vector_add");
  float* a = malloc(n * sizeof(float));
  float* b = malloc(n * sizeof(float));
  for (uint32_t i = 0; i < n; i++) {
    a[i] = (float)i;
    b[i] = (float)(2 * (i % 1000));
  }
  Pointer x = allocate(n * sizeof(float)), y = allocate(n * sizeof(float)), z = allocate(n * sizeof(float));
  CALL(cuMemcpyHtoD_v2, (Pointer, const void*, size_t), x, a, n * sizeof(float));
  CALL(cuMemcpyHtoD_v2, (Pointer, const void*, size_t), y, b, n * sizeof(float));
  launch(kernel, n / 256, 1, 256, 1, x, y, z, n);
  float* sum = calloc(n, sizeof(float));
  CALL(cuMemcpyDtoH_v2, (void*, Pointer, size_t), sum, z, n * sizeof(float));
  for (uint32_t i = 0; i < n; i++) {
    if (sum[i] != a[i] + b[i]) {
      fprintf(stderr, "vector sum: element %u is %g, not %g\n", i, sum[i], a[i] + b[i]);
      exit(1);
    }
  }
  free(a);
  free(b);
  free(sum);
}

// GB/s of a copy within the GPU, counting bytes read and written.
static double bandwidth(void) {
  const size_t bytes = 256u << 20;
  const int times = 20;
  Pointer from = allocate(bytes), to = allocate(bytes);
  Handle begin = event(), end = event();
  for (int i = -2; i < times; i++) {
    if (i == 0) record(begin);
    CALL(cuMemcpyDtoDAsync_v2, (Pointer, Pointer, size_t, Handle), to, from, bytes, NULL);
  }
  record(end);
  return 2.0 * (double)bytes * times / between(begin, end) / 1e6;
}

// GFLOP/s of a plain product; what it is worth lies in comparing it with itself.
static double product(Handle module) {
  const uint32_t n = 2048;
  const int times = 5;
  Handle kernel = NULL;
  CALL(cuModuleGetFunction, (Handle*, Handle, const char*), &kernel, module, "matrix_product");
  const size_t bytes = (size_t)n * n * sizeof(float);
  Pointer a = allocate(bytes), b = allocate(bytes), c = allocate(bytes);
  const float two = 2.0f, half = 0.5f;
  uint32_t two_bits, half_bits;
  memcpy(&two_bits, &two, 4);
  memcpy(&half_bits, &half, 4);
  CALL(cuMemsetD32_v2, (Pointer, unsigned, size_t), a, two_bits, (size_t)n * n);
  CALL(cuMemsetD32_v2, (Pointer, unsigned, size_t), b, half_bits, (size_t)n * n);
  Handle begin = event(), end = event();
  for (int i = -1; i < times; i++) {
    if (i == 0) record(begin);
    launch(kernel, n / 16, n / 16, 16, 16, a, b, c, n);
  }
  record(end);
  const double ms = between(begin, end);
  float last = 0;
  CALL(cuMemcpyDtoH_v2, (void*, Pointer, size_t), &last, c + bytes - sizeof(float), sizeof(float));
  if (last != (float)n) {
    fprintf(stderr, "matrix product: the last element is %g, not %u\n", last, n);
    exit(1);
  }
  return 2.0 * n * n * n * times / ms / 1e6;
}

int main(int argc, char** argv) {
  if (argc > 1 && strcmp(argv[1], "--ptx") == 0) return fputs(kProgram, stdout) < 0;
  library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL);
  if (!library) {
    fprintf(stderr, "%s\n", dlerror());
    return 2;
  }
  int version = 0, count = 0;
  CALL(cuInit, (unsigned), 0);
  CALL(cuDriverGetVersion, (int*), &version);
  CALL(cuDeviceGetCount, (int*), &count);
  if (count == 0) {
    fprintf(stderr, "CUDA sees no GPU\n");
    return 1;
  }
  Device device = 0;
  Handle context = NULL, module = NULL;
  char name[128] = "";
  unsigned char uuid[16] = {0};
  CALL(cuDeviceGet, (Device*, int), &device, 0);
  CALL(cuDeviceGetName, (char*, int, Device), name, sizeof(name), device);
  CALL(cuDeviceGetUuid, (void*, Device), uuid, device);
  CALL(cuDevicePrimaryCtxRetain, (Handle*, Device), &context, device);
  CALL(cuCtxSetCurrent, (Handle), context);
  CALL(cuModuleLoadData, (Handle*, const void*), &module, kProgram);
  vector_sum(module);
  const double gbs = bandwidth();
  const double gflops = product(module);
  printf("{\"cuda\":%d,\"gpus\":%d,\"name\":\"%s\",\"uuid\":\"", version, count, name);
  for (int i = 0; i < 16; i++) printf("%02x", uuid[i]);
  printf("\",\"bandwidth\":%.1f,\"product\":%.1f}\n", gbs, gflops);
  return 0;
}
