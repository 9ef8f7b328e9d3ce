// Any bytes as manifest.json and as an ONNX file.
#include <cstddef>
#include <cstdint>

#include "ghostclas/error.hpp"
#include "manifest.hpp"
#include "onnx_graph.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    ghostclas::refused_in_graph(data, size);
    try {
        ghostclas::parse_manifest({reinterpret_cast<const char*>(data), size}, "fuzzed");
    } catch (const ghostclas::Error&) {
        // Refused, with a sentence.
    }
    return 0;
}
