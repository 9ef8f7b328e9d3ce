# libwebp and its demuxer, which hold the animation decoder: target WebP::demux.
find_path(WebPDemux_INCLUDE_DIR webp/demux.h)
find_library(WebPDemux_LIBRARY NAMES webpdemux libwebpdemux)
find_library(WebPDemux_WEBP_LIBRARY NAMES webp libwebp webpdecoder libwebpdecoder)
find_library(WebPDemux_SHARPYUV_LIBRARY NAMES sharpyuv libsharpyuv)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(WebPDemux
  REQUIRED_VARS WebPDemux_LIBRARY WebPDemux_WEBP_LIBRARY WebPDemux_INCLUDE_DIR)
if(WebPDemux_FOUND AND NOT TARGET WebP::demux)
  add_library(WebP::demux INTERFACE IMPORTED)
  target_include_directories(WebP::demux INTERFACE "${WebPDemux_INCLUDE_DIR}")
  target_link_libraries(WebP::demux INTERFACE "${WebPDemux_LIBRARY}" "${WebPDemux_WEBP_LIBRARY}")
  if(WebPDemux_SHARPYUV_LIBRARY)
    # A static libwebp needs it; a shared one brings it.
    target_link_libraries(WebP::demux INTERFACE "${WebPDemux_SHARPYUV_LIBRARY}")
  endif()
endif()
mark_as_advanced(WebPDemux_INCLUDE_DIR WebPDemux_LIBRARY WebPDemux_WEBP_LIBRARY WebPDemux_SHARPYUV_LIBRARY)
