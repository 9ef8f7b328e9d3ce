# cmake --install, find_package(ghostclas), pkg-config and a Debian package.
include(CMakePackageConfigHelpers)

set(GHOSTCLAS_BUILT_IN "${CMAKE_CURRENT_SOURCE_DIR}/../src/ghostclas/assets/ghostnet_x1_0_tiny200")
if(UNIX AND NOT APPLE)
  # From the start: CMake would reserve the place with empty folders, which mean the current one.
  set_target_properties(ghostclas-infer PROPERTIES
    INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}"
    BUILD_WITH_INSTALL_RPATH ON)
endif()

install(TARGETS ghostclas EXPORT ghostclas
  RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR}
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS ghostclas-infer RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY include/ghostclas DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
if(EXISTS "${GHOSTCLAS_BUILT_IN}/manifest.json")
  install(DIRECTORY "${GHOSTCLAS_BUILT_IN}" DESTINATION ${CMAKE_INSTALL_DATADIR}/ghostclas)
  # The build folder, too, has the layout of an installation.
  file(COPY "${GHOSTCLAS_BUILT_IN}" DESTINATION "${CMAKE_CURRENT_BINARY_DIR}/share/ghostclas")
endif()

set(GHOSTCLAS_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/ghostclas)
install(EXPORT ghostclas NAMESPACE ghostclas:: FILE ghostclas-config.cmake DESTINATION ${GHOSTCLAS_CMAKE_DIR})
write_basic_package_version_file(ghostclas-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/ghostclas-config-version.cmake" DESTINATION ${GHOSTCLAS_CMAKE_DIR})

# From lib/pkgconfig, or lib/x86_64-linux-gnu/pkgconfig, to what both are in.
string(REGEX REPLACE "[^/]+" ".." GHOSTCLAS_PC_UP "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
configure_file(cmake/ghostclas.pc.in ghostclas.pc @ONLY)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/ghostclas.pc" DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

set(CPACK_PACKAGE_NAME ghostclas)
set(CPACK_PACKAGE_CONTACT "the authors of ghostclas")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "Image classifiers from one bundle: a C++ library and ghostclas-infer")
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION graphics)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_GENERATOR DEB)
include(CPack)
