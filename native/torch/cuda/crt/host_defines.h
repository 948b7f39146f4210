// Stands in for CUDA's header of this name, which is no part of the wheels that come with torch: the words that CUDA's
// headers put before declarations, as a plain C++ compiler understands them. Nothing here is for a device.
#pragma once

#define CUDARTAPI
#define CUDARTAPI_CDECL
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __builtin_align__(bytes) __align__(bytes)
#define __annotate__(word)
#define __cdecl
#define __cluster_dims__(...)
#define __constant__
#define __cudart_builtin__
#define __device__
#define __device_builtin__
#define __device_builtin_surface_type__
#define __device_builtin_texture_type__
#define __forceinline__ __inline__ __attribute__((always_inline))
#define __global__
#define __grid_constant__
#define __host__
#define __launch_bounds__(...)
#define __managed__
#define __no_return__ __attribute__((noreturn))
#define __shared__
#define __specialization_static
