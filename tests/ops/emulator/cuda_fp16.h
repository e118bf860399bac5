// float16 for the emulator.
#pragma once

struct __half {
  _Float16 number;
};
inline float __half2float(__half half) { return static_cast<float>(half.number); }
inline __half __float2half_rn(float number) { return {static_cast<_Float16>(number)}; }
