# Decoding, resampling and scores.
find_package(ZLIB REQUIRED)
find_package(JPEG REQUIRED)
find_package(WebPDemux REQUIRED)

add_library(ghostclas_pixels STATIC
  src/bmp.cpp
  src/exif.cpp
  src/gif.cpp
  src/identify.cpp
  src/image.cpp
  src/jpeg.cpp
  src/jpeg_work.cpp
  src/limits.cpp
  src/netpbm.cpp
  src/pixels.cpp
  src/png.cpp
  src/ppm.cpp
  src/resample.cpp
  src/scores.cpp
  src/text.cpp
  src/unpack.cpp
  src/webp.cpp)
target_include_directories(ghostclas_pixels PUBLIC
  "$<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/include>" "$<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/src>")
if(MSVC)
  # libjpeg reports errors by longjmp; nothing with a destructor lives across it, which C4611 cannot see.
  set_source_files_properties(src/jpeg.cpp PROPERTIES COMPILE_OPTIONS /wd4611)
endif()
target_link_libraries(ghostclas_pixels
  PUBLIC $<BUILD_INTERFACE:ghostclas_options>
  PRIVATE ZLIB::ZLIB JPEG::JPEG WebP::demux)

# A format of which the build has no library says so in its error.
function(ghostclas_optional_format name package target source)
  if(NOT GHOSTCLAS_${name} STREQUAL "OFF")
    find_package(${package} QUIET)
    if(GHOSTCLAS_${name} STREQUAL "ON" AND NOT ${package}_FOUND)
      message(FATAL_ERROR "GHOSTCLAS_${name} is ON, and ${package} was not found")
    endif()
  endif()
  if(NOT GHOSTCLAS_${name} STREQUAL "OFF" AND ${package}_FOUND)
    target_sources(ghostclas_pixels PRIVATE src/${source}.cpp)
    target_link_libraries(ghostclas_pixels PRIVATE ${target})
    message(STATUS "ghostclas reads ${name}")
  else()
    target_sources(ghostclas_pixels PRIVATE src/absent_${source}.cpp)
    message(STATUS "ghostclas does not read ${name}")
  endif()
endfunction()
ghostclas_optional_format(AVIF Avif Avif::avif avif)
ghostclas_optional_format(TIFF TIFF TIFF::TIFF tiff)

if(GHOSTCLAS_TESTS)
  # What the Python tests call by ctypes.
  add_library(ghostclas_pixels_c SHARED tests/pixels_c.cpp)
  target_link_libraries(ghostclas_pixels_c PRIVATE ghostclas_pixels)

  find_package(Threads REQUIRED)
  find_package(doctest QUIET)
  find_package(nlohmann_json QUIET)
  if(doctest_FOUND AND nlohmann_json_FOUND)
    add_executable(ghostclas_pixels_test tests/pixels_test.cpp)
    target_link_libraries(ghostclas_pixels_test
      PRIVATE ghostclas_pixels doctest::doctest nlohmann_json::nlohmann_json Threads::Threads)
    cmake_path(SET golden NORMALIZE "${CMAKE_CURRENT_SOURCE_DIR}/../tests/golden")
    # The variable GHOSTCLAS_GOLDEN names another folder, such as one on an emulated machine.
    target_compile_definitions(ghostclas_pixels_test PRIVATE GHOSTCLAS_GOLDEN="${golden}")
    add_test(NAME pixels COMMAND ghostclas_pixels_test)
  else()
    message(STATUS "ghostclas: no doctest or nlohmann_json, the tests of the pixels are left out")
  endif()
endif()
