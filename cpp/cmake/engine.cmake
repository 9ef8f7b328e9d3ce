# The bundle, the runtimes, the classifier: the library, its C API and the program.
find_package(Threads REQUIRED)
find_package(ZLIB REQUIRED)
find_package(OpenSSL COMPONENTS Crypto)

add_library(ghostclas_engine OBJECT
  src/bundle.cpp
  src/capi.cpp
  src/classifier.cpp
  src/engine.cpp
  src/json.cpp
  src/locate.cpp
  src/manifest.cpp
  src/onnx_graph.cpp
  src/openvino.cpp
  src/ort.cpp
  src/photos.cpp
  src/sha256.cpp
  src/strings.cpp
  src/zip.cpp
  $<IF:$<BOOL:${WIN32}>,src/windows.cpp,src/posix.cpp>)
# Private: the program and the tests take the objects, and import nothing from a shared library.
target_compile_definitions(ghostclas_engine
  PRIVATE GHOSTCLAS_SHARED GHOSTCLAS_BUILDING GHOSTCLAS_VERSION="${PROJECT_VERSION}")
target_link_libraries(ghostclas_engine PUBLIC ghostclas_pixels ZLIB::ZLIB Threads::Threads ${CMAKE_DL_LIBS})
if(OpenSSL_FOUND OR OPENSSL_FOUND)
  target_compile_definitions(ghostclas_engine PRIVATE GHOSTCLAS_OPENSSL)
  target_link_libraries(ghostclas_engine PUBLIC OpenSSL::Crypto)
endif()

# The build folder has the layout of an installation: bin, lib, share.
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}/bin")
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}/lib")
set(CMAKE_ARCHIVE_OUTPUT_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}/lib")

add_library(ghostclas SHARED)
target_link_libraries(ghostclas PRIVATE ghostclas_engine)
target_compile_definitions(ghostclas INTERFACE GHOSTCLAS_SHARED)
target_compile_features(ghostclas INTERFACE cxx_std_17)
target_include_directories(ghostclas INTERFACE
  $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/include>
  $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
set_target_properties(ghostclas PROPERTIES
  VERSION ${PROJECT_VERSION}
  SOVERSION ${PROJECT_VERSION_MAJOR}
  LINKER_LANGUAGE CXX)
if(UNIX AND NOT APPLE)
  # Nothing of the libraries inside becomes visible, and nothing is left undefined.
  target_link_options(ghostclas PRIVATE -Wl,--exclude-libs,ALL)
  if(NOT GHOSTCLAS_SANITIZE)
    target_link_options(ghostclas PRIVATE -Wl,--no-undefined)
  endif()
endif()
add_library(ghostclas::ghostclas ALIAS ghostclas)

# Without the shared library: it starts sooner, and can be copied alone.
add_executable(ghostclas-infer cli/main.cpp)
target_link_libraries(ghostclas-infer PRIVATE ghostclas_engine)
target_compile_definitions(ghostclas-infer PRIVATE GHOSTCLAS_VERSION="${PROJECT_VERSION}")
include(install)

if(GHOSTCLAS_TESTS)
  find_package(doctest QUIET)
  if(doctest_FOUND)
    add_executable(ghostclas_engine_test tests/engine_test.cpp)
    target_link_libraries(ghostclas_engine_test PRIVATE ghostclas_engine doctest::doctest)
    add_test(NAME engine COMMAND ghostclas_engine_test)
    set_tests_properties(engine PROPERTIES ENVIRONMENT "GHOSTCLAS_TEST_BUNDLE=${GHOSTCLAS_BUILT_IN}")
    # A program of its own: it replaces the operators that allocate.
    add_executable(ghostclas_memory_test tests/memory_test.cpp)
    target_link_libraries(ghostclas_memory_test PRIVATE ghostclas_engine doctest::doctest)
    add_test(NAME memory COMMAND ghostclas_memory_test)
  else()
    message(STATUS "ghostclas: no doctest, the tests of the engine are left out")
  endif()
endif()

if(GHOSTCLAS_FUZZ)
  foreach(target bundle manifest zip)
    add_executable(fuzz_${target} fuzz/${target}.cpp)
    target_link_libraries(fuzz_${target} PRIVATE ghostclas_engine)
    target_link_options(fuzz_${target} PRIVATE -fsanitize=fuzzer)
  endforeach()
  target_sources(fuzz_bundle PRIVATE fuzz/mutate_bundle.cpp)
endif()
