# Decoding, resampling and scores.
add_library(ghostclas_pixels STATIC
  src/scores.cpp
  src/text.cpp)
target_include_directories(ghostclas_pixels PUBLIC include src)
target_link_libraries(ghostclas_pixels PUBLIC ghostclas_options)
