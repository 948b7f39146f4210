// Stands in for CUDA's header of this name, which is no part of the wheels that come with torch. It says which compilers
// nvcc can stand before; there is no nvcc here.
#pragma once
