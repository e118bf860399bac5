// CUDA on a processor: runs the kernels' own sources, thread by thread, so that their arithmetic, indices and shuffles can
// be checked without a GPU. It stands in for the CUDA headers when g++ compiles a .cu file with this folder first.
//
// The 32 threads of a warp are fibers that take turns; a shuffle hands over a number and waits until all 32 have. A warp
// whose threads do not meet at the same shuffle is an error, as are addresses outside the tensors (compile with
// -fsanitize=address). Not emulated: what is fast, memory order, and threads of different warps running at once.
#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __grid_constant__
#define __launch_bounds__(...)

enum cudaError_t { cudaSuccess = 0, cudaErrorInvalidValue = 1, cudaErrorInvalidConfiguration = 9 };
using cudaStream_t = void*;

struct dim3 {
  unsigned x, y, z;
  dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  std::size_t dynamicSmemBytes;
  cudaStream_t stream;
};
struct alignas(8) float2 { float x, y; };
struct alignas(16) double2 { double x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(16) uint4 { unsigned x, y, z, w; };

namespace emulator {

inline constexpr int kLanes = 32;
inline constexpr std::size_t kStack = 64 << 10;

struct Fiber {
  ucontext_t context;
  jmp_buf paused;  // a jump is ten times faster than swapcontext, which asks the kernel
  std::unique_ptr<char[]> stack{new char[kStack]};
  unsigned thread;
  long meetings;  // shuffles so far
  bool started, done;
};

inline Fiber fibers[kLanes];
inline jmp_buf scheduler;
inline Fiber* running;
inline std::function<void()> body;
inline const void *first_sum, *last_sum;  // what atomicAdd may write: adding 0 to a neighbour would not show
inline std::uint64_t board[2][kLanes];  // what each lane shows at even and at odd shuffles

[[noreturn]] inline void fail(const char* message) {
  std::fprintf(stderr, "emulator: %s\n", message);
  std::abort();
}

inline void run_fiber() {
  body();
  running->done = true;
  _longjmp(scheduler, 1);
}

// Shows a number to the warp, and returns when every lane has shown its own.
template <class T>
const std::uint64_t* meet(T number) {
  Fiber* self = running;
  auto& shown = board[self->meetings % 2];
  std::memcpy(&shown[self - fibers], &number, sizeof(number));
  ++self->meetings;
  if (!_setjmp(self->paused)) _longjmp(scheduler, 1);
  for (const Fiber& other : fibers) {
    if (other.meetings < self->meetings) fail("the threads of a warp did not all reach a shuffle");
  }
  return shown;
}

template <class T>
T shown_by(const std::uint64_t* shown, int lane) {
  T number;
  std::memcpy(&number, &shown[lane], sizeof(number));
  return number;
}

[[noreturn]] inline void resume(Fiber& fiber) {
  if (fiber.started) _longjmp(fiber.paused, 1);
  fiber.started = true;
  setcontext(&fiber.context);
  fail("a fiber did not start");
}

inline void run_warp(unsigned first_thread) {
  for (int lane = 0; lane < kLanes; ++lane) {
    Fiber& fiber = fibers[lane];
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = kStack;
    fiber.context.uc_link = nullptr;
    fiber.thread = first_thread + lane;
    fiber.meetings = 0;
    fiber.started = fiber.done = false;
    makecontext(&fiber.context, run_fiber, 0);
  }
  while (std::any_of(fibers, fibers + kLanes, [](const Fiber& fiber) { return !fiber.done; })) {
    for (running = fibers; running < fibers + kLanes; ++running) {
      if (!running->done && !_setjmp(scheduler)) resume(*running);
    }
  }
}

}  // namespace emulator

inline dim3 gridDim, blockDim, blockIdx;
struct ThreadIndex {
  struct {
    operator unsigned() const { return emulator::running->thread; }
  } x;
};
inline ThreadIndex threadIdx;

template <class... Expected, class... Given>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Expected...), Given&&... given) {
  gridDim = config->gridDim;
  blockDim = config->blockDim;
  if (blockDim.x % emulator::kLanes) emulator::fail("a block is not made of whole warps");
  emulator::body = [&] { kernel(given...); };
  for (blockIdx.y = 0; blockIdx.y < gridDim.y; ++blockIdx.y) {
    for (blockIdx.x = 0; blockIdx.x < gridDim.x; ++blockIdx.x) {
      for (unsigned thread = 0; thread < blockDim.x; thread += emulator::kLanes) emulator::run_warp(thread);
    }
  }
  return cudaSuccess;
}

template <class T>
T __shfl_sync(unsigned, T number, int lane, int width) {
  const int self = static_cast<int>(emulator::running - emulator::fibers);
  return emulator::shown_by<T>(emulator::meet(number), self / width * width + lane % width);
}
template <class T>
T __shfl_xor_sync(unsigned, T number, int distance, int width) {
  const int self = static_cast<int>(emulator::running - emulator::fibers);
  if (distance >= width) emulator::fail("a shuffle leaves its group");
  return emulator::shown_by<T>(emulator::meet(number), self ^ distance);
}
inline bool __any_sync(unsigned, bool mine) {
  const std::uint64_t* shown = emulator::meet(mine);
  bool any = false;
  for (int lane = 0; lane < emulator::kLanes; ++lane) any |= emulator::shown_by<bool>(shown, lane);
  return any;
}

template <class T>
T __ldcs(const T* from) { return *from; }
template <class T>
void __stcs(T* to, T number) { *to = number; }
template <class T>
void atomicAdd(T* to, T number) {
  if (to < emulator::first_sum || to >= emulator::last_sum) emulator::fail("an addition outside its tensor");
  *to += number;
}
inline float2 make_float2(float x, float y) { return {x, y}; }
inline double2 make_double2(double x, double y) { return {x, y}; }
inline float __uint_as_float(unsigned bits) {
  float number;
  std::memcpy(&number, &bits, sizeof(number));
  return number;
}
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dmul_rn(double a, double b) { return a * b; }
using std::floor;
using std::max;
using std::min;
