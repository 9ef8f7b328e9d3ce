// What may be in an .onnx before a runtime sees it: one plain graph of standard operators.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace ghostclas {

// Walks the file once, as the protobuf that it is. Returns what it holds that no export of a network needs, as the
// end of "it holds": control flow, functions, custom operators, graphs inside nodes, data outside the file, too many
// nodes or fields, or no protobuf at all. Empty where there is nothing of that.
std::string refused_in_graph(const std::uint8_t* data, std::size_t size);

}  // namespace ghostclas
