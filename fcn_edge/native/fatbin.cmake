# cmake -DNVCC= -DARCHITECTURES= -DSOURCE= -DFATBIN= -P fatbin.cmake
#
# Compiles SOURCE for ARCHITECTURES, or for all from 7.0 on that NVCC supports, and as PTX for newer GPUs.
# A failure is a warning: fcn-edge works without the CUDA kernels.
if(NOT ARCHITECTURES)
  execute_process(COMMAND ${NVCC} --list-gpu-arch OUTPUT_VARIABLE known ERROR_QUIET TIMEOUT 60)
  string(REGEX MATCHALL "compute_[0-9]+" known "${known}")
  string(REPLACE "compute_" "" ARCHITECTURES "${known}")
  list(FILTER ARCHITECTURES INCLUDE REGEX "^([7-9][0-9]|[0-9][0-9][0-9])$")
endif()
set(oldest 999)
foreach(architecture IN LISTS ARCHITECTURES)
  list(APPEND codes -gencode arch=compute_${architecture},code=sm_${architecture})
  if(architecture LESS oldest)
    set(oldest ${architecture})
  endif()
endforeach()
file(REMOVE ${FATBIN})
if(codes)
  # -fmad=false: class maps must be bit-identical to numpy's.
  execute_process(
    COMMAND ${NVCC} -fatbin -std=c++17 -O3 -fmad=false --threads 0 ${codes}
            -gencode arch=compute_${oldest},code=compute_${oldest} ${SOURCE} -o ${FATBIN}
    RESULT_VARIABLE failed OUTPUT_VARIABLE said ERROR_VARIABLE said TIMEOUT 600)
else()
  set(failed 1)
  set(said "it knows no GPU from compute capability 7.0 on")
endif()
if(failed)
  file(REMOVE ${FATBIN})
  message(WARNING "the CUDA kernels were left out, because ${NVCC} failed: ${said}")
else()
  message(STATUS "CUDA kernels for ${ARCHITECTURES}")
endif()
file(TOUCH ${FATBIN}.done)
