// As much of the CUDA driver as fcn-edge calls, on the host: device memory is malloc'ed, work in a stream is done
// when it is waited for, a captured stream records, and the only kernel is scale(float* x, float by, int n).
// Compiled by tests/engines/test_cuda.py as libcuda.so.1, which the real cuda-python and pycuda then load.
// FCN_STUB_FAIL=cuMemAlloc_v2 lets that call fail with "out of memory".
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <dlfcn.h>

using Work = std::function<void()>;
using Handle = void*;
struct Stream { std::deque<Work> queue; std::vector<Work>* recording = nullptr; };
using Graph = std::vector<Work>;
static int entered = 0, context = 0;

static int outcome(const char* name) {
    const char* failing = std::getenv("FCN_STUB_FAIL");
    return failing && std::string(failing) == name ? 2 : 0;
}
static void put(Handle stream, Work work) {
    auto* s = static_cast<Stream*>(stream);
    if (s->recording) s->recording->push_back(work); else s->queue.push_back(work);
}
static void drain(Stream* s) {
    while (!s->queue.empty()) { Work work = s->queue.front(); s->queue.pop_front(); work(); }
}
#define CALL(name, ...) extern "C" int name(__VA_ARGS__) { if (int code = outcome(#name)) return code;
#define CURRENT if (!entered) return 201;

CALL(cuInit, unsigned) return 0; }
CALL(cuDriverGetVersion, int* out) *out = 12060; return 0; }
CALL(cuDeviceGet, int* out, int n) *out = 0; return n == 0 ? 0 : 101; }
CALL(cuDeviceGetCount, int* out) *out = 1; return 0; }
CALL(cuDeviceGetName, char* out, int n, int) std::strncpy(out, "Stub A1", n); return 0; }
CALL(cuDeviceTotalMem_v2, size_t* out, int) *out = size_t(8) << 30; return 0; }
CALL(cuDeviceGetAttribute, int* out, int what, int) *out = what == 75 ? 8 : what == 76 ? 6 : 0; return 0; }
CALL(cuDevicePrimaryCtxRetain, Handle* out, int) *out = &context; return 0; }
CALL(cuDevicePrimaryCtxRelease_v2, int) return 0; }
CALL(cuCtxPushCurrent_v2, Handle) ++entered; return 0; }
CALL(cuCtxPopCurrent_v2, Handle* out) CURRENT --entered; if (out) *out = &context; return 0; }
CALL(cuCtxGetCurrent, Handle* out) *out = entered ? &context : nullptr; return 0; }
CALL(cuCtxGetDevice, int* out) CURRENT *out = 0; return 0; }
CALL(cuMemGetInfo_v2, size_t* free_bytes, size_t* total) CURRENT *free_bytes = size_t(7) << 30; *total = size_t(8) << 30; return 0; }
CALL(cuMemAlloc_v2, unsigned long long* out, size_t n) CURRENT *out = (unsigned long long)std::malloc(n); return 0; }
CALL(cuMemFree_v2, unsigned long long p) CURRENT std::free((void*)p); return 0; }
CALL(cuMemHostAlloc, void** out, size_t n, unsigned) CURRENT *out = std::malloc(n); return 0; }
CALL(cuMemFreeHost, void* p) CURRENT std::free(p); return 0; }
CALL(cuStreamCreate, Handle* out, unsigned) CURRENT *out = new Stream; return 0; }
CALL(cuStreamDestroy_v2, Handle s) drain(static_cast<Stream*>(s)); delete static_cast<Stream*>(s); return 0; }
CALL(cuStreamSynchronize, Handle s) drain(static_cast<Stream*>(s)); return 0; }
CALL(cuMemcpyHtoDAsync_v2, unsigned long long to, const void* from, size_t n, Handle s)
    put(s, [=] { std::memcpy((void*)to, from, n); }); return 0; }
CALL(cuMemcpyDtoHAsync_v2, void* to, unsigned long long from, size_t n, Handle s)
    put(s, [=] { std::memcpy(to, (void*)from, n); }); return 0; }
CALL(cuEventCreate, Handle* out, unsigned) *out = new Stream*(nullptr); return 0; }
CALL(cuEventDestroy_v2, Handle e) delete static_cast<Stream**>(e); return 0; }
CALL(cuEventRecord, Handle e, Handle s)
    if (static_cast<Stream*>(s)->recording) return 1;  // nobody outside of the graph could see it
    *static_cast<Stream**>(e) = static_cast<Stream*>(s); return 0; }
CALL(cuEventRecordWithFlags, Handle e, Handle s, unsigned flags)
    auto* stream = static_cast<Stream*>(s);
    if (flags != 1 || !stream->recording) return 1;
    put(s, [=] { *static_cast<Stream**>(e) = stream; }); return 0; }
CALL(cuEventSynchronize, Handle e) if (Stream* s = *static_cast<Stream**>(e)) drain(s); return 0; }
CALL(cuStreamWaitEvent, Handle s, Handle e, unsigned)
    Stream* behind = *static_cast<Stream**>(e); put(s, [=] { if (behind) drain(behind); }); return 0; }
CALL(cuEventElapsedTime, float* out, Handle, Handle) *out = 1.5f; return 0; }
CALL(cuEventElapsedTime_v2, float* out, Handle, Handle) *out = 1.5f; return 0; }
CALL(cuModuleLoadDataEx, Handle* out, const void* image, unsigned, void*, void*)
    if (std::strcmp((const char*)image, "stub kernels")) return 200;
    *out = new int; return 0; }
CALL(cuModuleLoadData, Handle* out, const void* image) return cuModuleLoadDataEx(out, image, 0, nullptr, nullptr); }
CALL(cuModuleUnload, Handle m) delete static_cast<int*>(m); return 0; }
CALL(cuModuleGetFunction, Handle* out, Handle m, const char* name) if (std::strcmp(name, "scale")) return 500; *out = m; return 0; }
CALL(cuLaunchKernel, Handle, unsigned gx, unsigned, unsigned, unsigned bx, unsigned, unsigned, unsigned, Handle s,
     void** params, void** extra)
    float* x; float by; int n;
    if (params) {
        x = *(float**)params[0]; by = *(float*)params[1]; n = *(int*)params[2];
    } else {  // pycuda packs its arguments: CU_LAUNCH_PARAM_BUFFER_POINTER, buffer, ...
        char* packed = (char*)extra[1];
        std::memcpy(&x, packed, 8); std::memcpy(&by, packed + 8, 4); std::memcpy(&n, packed + 12, 4);
    }
    if (gx * bx < unsigned(n)) return 1;
    put(s, [=] { for (int i = 0; i < n; ++i) x[i] *= by; }); return 0; }
CALL(cuStreamBeginCapture_v2, Handle s, int mode)
    if (mode != 1) return 1;
    static_cast<Stream*>(s)->recording = new Graph; return 0; }
CALL(cuStreamEndCapture, Handle s, Handle* out)
    auto* stream = static_cast<Stream*>(s); *out = stream->recording; stream->recording = nullptr; return 0; }
CALL(cuGraphInstantiateWithFlags, Handle* out, Handle g, unsigned long long) *out = new Graph(*static_cast<Graph*>(g)); return 0; }
CALL(cuGraphDestroy, Handle g) delete static_cast<Graph*>(g); return 0; }
CALL(cuGraphExecDestroy, Handle g) delete static_cast<Graph*>(g); return 0; }
CALL(cuGraphLaunch, Handle g, Handle s) for (auto& work : *static_cast<Graph*>(g)) put(s, work); return 0; }
CALL(cuGetErrorString, int code, const char** out)
    *out = code == 2 ? "out of memory" : code == 201 ? "invalid device context" : code == 500 ? "named symbol not found"
         : code == 200 ? "device kernel image is invalid" : "invalid argument";
    return 0; }
CALL(cuGetErrorName, int, const char** out) *out = "CUDA_ERROR"; return 0; }

// The names that callers ask for, each as its newest version here.
CALL(cuGetProcAddress_v2, const char* name, void** out, int, unsigned long long, int* status)
    static void* self = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_NOLOAD);
    const std::string asked = std::string(name) == "cuGraphInstantiate" ? "cuGraphInstantiateWithFlags" : name;
    *out = nullptr;
    for (const char* version : {"_v3", "_v2", ""})
        if (!*out) *out = dlsym(self, (asked + version).c_str());
    if (status) *status = *out ? 0 : 1;
    return 0; }
CALL(cuGetProcAddress, const char* name, void** out, int version, unsigned long long flags)
    return cuGetProcAddress_v2(name, out, version, flags, nullptr); }
