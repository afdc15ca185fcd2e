// NVIDIA's management library, where a host has it: loaded at run time, so that neither build nor start
// depends on it. The declarations below are the part of its stable C interface that nsbox reads ("NVML API
// Reference Guide"). Every call runs in a worker thread: the first may take a second while the driver wakes a
// GPU.
#include <dlfcn.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "addon/support.h"

namespace nsbox {
namespace {

using Device = void*;
constexpr int kSuccess = 0;
constexpr int kInsufficientSize = 7;

struct PciInfo {
  char bus_id_legacy[16];
  unsigned domain, bus, device, pci_device_id, pci_subsystem_id;
  char bus_id[32];
};
struct MemoryInfo {
  unsigned long long total, free, used;
};
struct Utilization {
  unsigned gpu, memory;
};
struct ProcessInfo {
  unsigned pid;
  unsigned long long used_memory;
  unsigned gpu_instance, compute_instance;
};
struct ProcessSample {
  unsigned pid;
  unsigned long long timestamp;
  unsigned sm, memory, encoder, decoder;
};

// A loaded and initialised library. It stays loaded: drivers don't expect to be unloaded.
class Nvml {
 public:
  static std::shared_ptr<Nvml> Open(const std::string& path, std::string& error) {
    void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
      const char* why = dlerror();
      error = why ? why : "dlopen failed";
      return nullptr;
    }
    std::shared_ptr<Nvml> nvml(new Nvml(handle));
    auto init = nvml->Find<int (*)()>("nvmlInit_v2");
    if (!init) {
      error = path + " is not NVIDIA's management library";
      return nullptr;
    }
    const int r = init();
    if (r != kSuccess) {
      error = nvml->Text(r);
      return nullptr;
    }
    nvml->initialised_ = true;
    return nvml;
  }

  ~Nvml() {
    auto shutdown = Find<int (*)()>("nvmlShutdown");
    if (initialised_ && shutdown) shutdown();
  }

  Nvml(const Nvml&) = delete;
  Nvml& operator=(const Nvml&) = delete;

  template <typename F>
  F Find(const char* name) const {
    return reinterpret_cast<F>(dlsym(handle_, name));
  }

  std::string Text(int code) const {
    auto text = Find<const char* (*)(int)>("nvmlErrorString");
    const char* s = text ? text(code) : nullptr;
    return s ? s : "NVML error " + std::to_string(code);
  }

  // A name of the library's that fills a buffer, such as nvmlDeviceGetUUID.
  std::string String(const char* name, Device device) const {
    char buffer[128] = "";
    auto get = Find<int (*)(Device, char*, unsigned)>(name);
    if (!get || get(device, buffer, sizeof(buffer)) != kSuccess) return "";
    buffer[sizeof(buffer) - 1] = 0;
    return buffer;
  }

  // A number of a device; -1 where the library or the device has none.
  int64_t Number(const char* name, Device device) const {
    unsigned value = 0;
    auto get = Find<int (*)(Device, unsigned*)>(name);
    return get && get(device, &value) == kSuccess ? static_cast<int64_t>(value) : -1;
  }

 private:
  explicit Nvml(void* handle) : handle_(handle) {}
  void* handle_;
  bool initialised_ = false;
};

struct MigData {
  std::string uuid;
  int64_t gpu_instance, compute_instance, memory_used, memory_total;
};
struct ProcessData {
  unsigned pid;
  int64_t memory;
};
struct SampleData {
  unsigned pid, sm, memory;
};
struct GpuData {
  std::string uuid, name, pci;
  int64_t minor = -1, memory_used = -1, memory_total = -1, gpu_percent = -1, memory_percent = -1;
  bool mig_enabled = false;
  std::vector<MigData> mig;
  std::vector<ProcessData> processes;
  std::vector<SampleData> samples;
};
struct Data {
  std::string driver;
  int cuda = 0;
  std::vector<GpuData> gpus;
};

void ReadMemory(const Nvml& nvml, Device device, int64_t& used, int64_t& total) {
  MemoryInfo info{};
  auto get = nvml.Find<int (*)(Device, MemoryInfo*)>("nvmlDeviceGetMemoryInfo");
  used = total = -1;
  if (!get || get(device, &info) != kSuccess) return;
  used = static_cast<int64_t>(info.used);
  total = static_cast<int64_t>(info.total);
}

void ReadProcesses(const Nvml& nvml, Device device, const char* v3, const char* v2,
                   std::vector<ProcessData>& out) {
  using Get = int (*)(Device, unsigned*, ProcessInfo*);
  Get get = nvml.Find<Get>(v3);
  if (!get) get = nvml.Find<Get>(v2);
  if (!get) return;
  // The list may grow between two calls: a few tries, with room to spare.
  std::vector<ProcessInfo> list(64);
  for (int attempt = 0; attempt < 4; attempt++) {
    unsigned count = static_cast<unsigned>(list.size());
    const int r = get(device, &count, list.data());
    if (r == kInsufficientSize) {
      list.resize(count + 64);
      continue;
    }
    if (r != kSuccess) return;
    for (unsigned i = 0; i < count && i < list.size(); i++) {
      // All bits set: the library can't tell (as under MIG).
      const bool known = list[i].used_memory != ~0ULL;
      out.push_back({list[i].pid, known ? static_cast<int64_t>(list[i].used_memory) : -1});
    }
    return;
  }
}

void ReadSamples(const Nvml& nvml, Device device, std::vector<SampleData>& out) {
  auto get = nvml.Find<int (*)(Device, ProcessSample*, unsigned*, unsigned long long)>(
      "nvmlDeviceGetProcessUtilization");
  if (!get) return;
  unsigned count = 0;
  if (get(device, nullptr, &count, 0) != kInsufficientSize || count == 0 || count > 65536) return;
  std::vector<ProcessSample> list(count);
  if (get(device, list.data(), &count, 0) != kSuccess) return;
  for (unsigned i = 0; i < count && i < list.size(); i++) {
    out.push_back({list[i].pid, list[i].sm, list[i].memory});
  }
}

void ReadMig(const Nvml& nvml, Device device, GpuData& gpu) {
  unsigned current = 0, pending = 0;
  auto mode = nvml.Find<int (*)(Device, unsigned*, unsigned*)>("nvmlDeviceGetMigMode");
  auto at = nvml.Find<int (*)(Device, unsigned, Device*)>("nvmlDeviceGetMigDeviceHandleByIndex");
  if (!mode || !at || mode(device, &current, &pending) != kSuccess || current != 1) return;
  gpu.mig_enabled = true;
  const int64_t most = nvml.Number("nvmlDeviceGetMaxMigDeviceCount", device);
  for (int64_t i = 0; i < most; i++) {
    Device part = nullptr;
    if (at(device, static_cast<unsigned>(i), &part) != kSuccess) continue;
    MigData mig{};
    mig.uuid = nvml.String("nvmlDeviceGetUUID", part);
    mig.gpu_instance = nvml.Number("nvmlDeviceGetGpuInstanceId", part);
    mig.compute_instance = nvml.Number("nvmlDeviceGetComputeInstanceId", part);
    ReadMemory(nvml, part, mig.memory_used, mig.memory_total);
    gpu.mig.push_back(std::move(mig));
  }
}

void ReadGpu(const Nvml& nvml, Device device, GpuData& gpu) {
  gpu.uuid = nvml.String("nvmlDeviceGetUUID", device);
  gpu.name = nvml.String("nvmlDeviceGetName", device);
  gpu.minor = nvml.Number("nvmlDeviceGetMinorNumber", device);
  PciInfo pci{};
  auto info = nvml.Find<int (*)(Device, PciInfo*)>("nvmlDeviceGetPciInfo_v3");
  if (info && info(device, &pci) == kSuccess) {
    pci.bus_id[sizeof(pci.bus_id) - 1] = 0;
    gpu.pci = pci.bus_id;
  }
  ReadMemory(nvml, device, gpu.memory_used, gpu.memory_total);
  Utilization rates{};
  auto utilization = nvml.Find<int (*)(Device, Utilization*)>("nvmlDeviceGetUtilizationRates");
  if (utilization && utilization(device, &rates) == kSuccess) {
    gpu.gpu_percent = rates.gpu;
    gpu.memory_percent = rates.memory;
  }
  ReadMig(nvml, device, gpu);
  ReadProcesses(nvml, device, "nvmlDeviceGetComputeRunningProcesses_v3",
                "nvmlDeviceGetComputeRunningProcesses_v2", gpu.processes);
  ReadProcesses(nvml, device, "nvmlDeviceGetGraphicsRunningProcesses_v3",
                "nvmlDeviceGetGraphicsRunningProcesses_v2", gpu.processes);
  ReadSamples(nvml, device, gpu.samples);
}

Data ReadAll(const Nvml& nvml) {
  Data data;
  char version[128] = "";
  auto driver = nvml.Find<int (*)(char*, unsigned)>("nvmlSystemGetDriverVersion");
  if (driver && driver(version, sizeof(version)) == kSuccess) data.driver = version;
  auto cuda = nvml.Find<int (*)(int*)>("nvmlSystemGetCudaDriverVersion_v2");
  if (cuda && cuda(&data.cuda) != kSuccess) data.cuda = 0;
  unsigned count = 0;
  auto number = nvml.Find<int (*)(unsigned*)>("nvmlDeviceGetCount_v2");
  auto at = nvml.Find<int (*)(unsigned, Device*)>("nvmlDeviceGetHandleByIndex_v2");
  if (!number || !at || number(&count) != kSuccess) return data;
  for (unsigned i = 0; i < count; i++) {
    Device device = nullptr;
    if (at(i, &device) != kSuccess) continue;
    GpuData gpu;
    ReadGpu(nvml, device, gpu);
    data.gpus.push_back(std::move(gpu));
  }
  return data;
}

// ---- to JavaScript

using Holder = std::shared_ptr<Nvml>;

class OpenWorker : public Napi::AsyncWorker {
 public:
  OpenWorker(Napi::Env env, std::string path)
      : Napi::AsyncWorker(env), deferred_(Napi::Promise::Deferred::New(env)), path_(std::move(path)) {}
  Napi::Promise Promise() const { return deferred_.Promise(); }
  void Execute() override {
    std::string error;
    nvml_ = Nvml::Open(path_, error);
    if (!nvml_) SetError(error);
  }
  void OnOK() override {
    deferred_.Resolve(Napi::External<Holder>::New(Env(), new Holder(nvml_),
                                                  [](Napi::Env, Holder* holder) { delete holder; }));
  }
  void OnError(const Napi::Error& error) override { deferred_.Reject(error.Value()); }

 private:
  Napi::Promise::Deferred deferred_;
  std::string path_;
  Holder nvml_;
};

class ReadWorker : public Napi::AsyncWorker {
 public:
  ReadWorker(Napi::Env env, Holder nvml)
      : Napi::AsyncWorker(env), deferred_(Napi::Promise::Deferred::New(env)), nvml_(std::move(nvml)) {}
  Napi::Promise Promise() const { return deferred_.Promise(); }
  void Execute() override { data_ = ReadAll(*nvml_); }
  void OnOK() override {
    Napi::Env env = Env();
    Napi::Object out = Napi::Object::New(env);
    out.Set("driver", data_.driver);
    out.Set("cuda", Napi::Number::New(env, data_.cuda));
    Napi::Array gpus = Napi::Array::New(env, data_.gpus.size());
    for (size_t i = 0; i < data_.gpus.size(); i++)
      gpus.Set(static_cast<uint32_t>(i), Gpu(env, data_.gpus[i]));
    out.Set("gpus", gpus);
    deferred_.Resolve(out);
  }
  void OnError(const Napi::Error& error) override { deferred_.Reject(error.Value()); }

 private:
  static void Set(Napi::Object& object, const char* name, int64_t value) {
    object.Set(name, Napi::Number::New(object.Env(), static_cast<double>(value)));
  }

  static Napi::Object Gpu(Napi::Env env, const GpuData& gpu) {
    Napi::Object o = Napi::Object::New(env);
    o.Set("uuid", gpu.uuid);
    o.Set("name", gpu.name);
    o.Set("pci", gpu.pci);
    Set(o, "minor", gpu.minor);
    Set(o, "memoryUsed", gpu.memory_used);
    Set(o, "memoryTotal", gpu.memory_total);
    Set(o, "gpuPercent", gpu.gpu_percent);
    Set(o, "memoryPercent", gpu.memory_percent);
    o.Set("migEnabled", Napi::Boolean::New(env, gpu.mig_enabled));
    Napi::Array mig = Napi::Array::New(env, gpu.mig.size());
    for (size_t i = 0; i < gpu.mig.size(); i++) {
      Napi::Object m = Napi::Object::New(env);
      m.Set("uuid", gpu.mig[i].uuid);
      Set(m, "gpuInstance", gpu.mig[i].gpu_instance);
      Set(m, "computeInstance", gpu.mig[i].compute_instance);
      Set(m, "memoryUsed", gpu.mig[i].memory_used);
      Set(m, "memoryTotal", gpu.mig[i].memory_total);
      mig.Set(static_cast<uint32_t>(i), m);
    }
    o.Set("mig", mig);
    Napi::Array processes = Napi::Array::New(env, gpu.processes.size());
    for (size_t i = 0; i < gpu.processes.size(); i++) {
      Napi::Object p = Napi::Object::New(env);
      Set(p, "pid", gpu.processes[i].pid);
      Set(p, "memory", gpu.processes[i].memory);
      processes.Set(static_cast<uint32_t>(i), p);
    }
    o.Set("processes", processes);
    Napi::Array samples = Napi::Array::New(env, gpu.samples.size());
    for (size_t i = 0; i < gpu.samples.size(); i++) {
      Napi::Object s = Napi::Object::New(env);
      Set(s, "pid", gpu.samples[i].pid);
      Set(s, "sm", gpu.samples[i].sm);
      Set(s, "memory", gpu.samples[i].memory);
      samples.Set(static_cast<uint32_t>(i), s);
    }
    o.Set("samples", samples);
    return o;
  }

  Napi::Promise::Deferred deferred_;
  Holder nvml_;
  Data data_;
};

// (path) → Promise of a handle
Napi::Value NvmlOpen(const Napi::CallbackInfo& info) {
  auto* worker = new OpenWorker(info.Env(), Str(info, 0));
  Napi::Promise promise = worker->Promise();
  worker->Queue();
  return promise;
}

// (handle) → Promise of what the library knows now
Napi::Value NvmlRead(const Napi::CallbackInfo& info) {
  auto* worker = new ReadWorker(info.Env(), *info[0].As<Napi::External<Holder>>().Data());
  Napi::Promise promise = worker->Promise();
  worker->Queue();
  return promise;
}

}  // namespace

void RegisterNvml(Napi::Env env, Napi::Object& exports) {
  Export(env, exports, "nvmlOpen", NvmlOpen);
  Export(env, exports, "nvmlRead", NvmlRead);
}

}  // namespace nsbox
