# A fuzz target for each format: cmake --preset fuzz, then build/fuzz/fuzz_png CORPUS
if(GHOSTCLAS_FUZZ)
  foreach(format jpeg png webp gif bmp tiff ppm avif)
    add_executable(fuzz_${format} fuzz/pixels.cpp)
    target_compile_definitions(fuzz_${format} PRIVATE GHOSTCLAS_FUZZ_FORMAT=${format})
    target_link_libraries(fuzz_${format} PRIVATE ghostclas_pixels)
    target_link_options(fuzz_${format} PRIVATE -fsanitize=fuzzer)
  endforeach()
endif()
