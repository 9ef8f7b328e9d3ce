# 64-bit Arm programs from x86, by Debian's g++-aarch64-linux-gnu; qemu-aarch64 runs their tests.
# aarch64-libraries, beside this file, brings the libraries into build/aarch64-libraries.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(libraries "${CMAKE_CURRENT_LIST_DIR}/../build/aarch64-libraries/usr")
set(CMAKE_FIND_ROOT_PATH "${libraries}" /usr/aarch64-linux-gnu)
list(APPEND CMAKE_PREFIX_PATH "${libraries}")
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
# Headers of one kind of processor each.
set(CMAKE_CXX_FLAGS_INIT "-isystem ${libraries}/include/aarch64-linux-gnu")
find_program(QEMU NAMES qemu-aarch64 qemu-aarch64-static)
if(QEMU)
  set(CMAKE_CROSSCOMPILING_EMULATOR
    "${QEMU};-L;/usr/aarch64-linux-gnu;-E;LD_LIBRARY_PATH=${libraries}/lib/aarch64-linux-gnu")
endif()
