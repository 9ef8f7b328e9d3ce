#include "onnx_graph.hpp"

#include <algorithm>
#include <string_view>
#include <vector>

#include "strings.hpp"

namespace ghostclas {
namespace {

constexpr std::size_t max_nodes = 20000;
constexpr std::size_t max_fields = 1000000;
constexpr std::size_t shown = 60;
constexpr const char* outside = "data outside the file";

enum class Message { model, graph, node, attribute, sparse_tensor, tensor, none };

// The message that a field of `message` holds, by the numbers of onnx.proto; `none` for those stepped over.
Message inside(Message message, std::uint64_t field) {
    switch (message) {
        case Message::model:
            return field == 7 ? Message::graph : Message::none;
        case Message::graph:
            return field == 1    ? Message::node
                   : field == 5  ? Message::tensor
                   : field == 15 ? Message::sparse_tensor
                                 : Message::none;
        case Message::node:
            return field == 5 ? Message::attribute : Message::none;
        case Message::attribute:
            return field == 5 || field == 10    ? Message::tensor
                   : field == 22 || field == 23 ? Message::sparse_tensor
                                                : Message::none;
        case Message::sparse_tensor:
            return field == 1 || field == 2 ? Message::tensor : Message::none;
        default:
            return Message::none;
    }
}

const char* refused(Message message, std::uint64_t field) {
    if (message == Message::model) return field == 20 ? "training information" : field == 25 ? "functions" : nullptr;
    if (message == Message::attribute) {
        return field == 6    ? "a graph inside a node"
               : field == 11 ? "graphs inside a node"
               : field == 21 ? "a parameter of a function"
                             : nullptr;
    }
    return message == Message::tensor && field == 13 ? outside : nullptr;
}

// Python's text.decode("utf-8", "backslashreplace")
std::string decoded(std::string_view text) {
    std::string result;
    while (!text.empty()) {
        std::size_t good = 0;
        for (std::size_t at = 0; at < text.size(); good = at) {
            const std::size_t begin = at;
            const char32_t c = next_code_point(text, at);
            if (c >= 0xD800 && c <= 0xDFFF) {
                good = begin;
                break;
            }
        }
        result += text.substr(0, good);
        text.remove_prefix(good);
        if (text.empty()) break;
        constexpr std::string_view digits = "0123456789abcdef";
        const auto byte = static_cast<unsigned char>(text[0]);
        result += {'\\', 'x', digits[byte >> 4U], digits[byte & 15U]};
        text.remove_prefix(1);
    }
    return result;
}

std::string refused_operator(std::uint64_t field, std::string_view text) {
    constexpr std::uint64_t operator_field = 4;
    if (field == operator_field) {
        for (const char* name : {"If", "Loop", "Scan", "SequenceMap"}) {
            if (text == name) return std::string("control flow, the operator ") + name;
        }
    } else if (!text.empty() && text != "ai.onnx") {
        return "an operator of " + quoted(decoded(text)) + ", not of ONNX";
    }
    return {};
}

}  // namespace

std::string refused_in_graph(const std::uint8_t* data, std::size_t size) {
    struct Part {
        Message kind;
        std::size_t begin;
        std::size_t end;
    };
    constexpr const char* endless = "a field that does not end";
    std::vector<Part> waiting{{Message::model, 0, size}};
    std::size_t nodes = 0;
    std::size_t fields = 0;
    while (!waiting.empty()) {
        const Part part = waiting.back();
        waiting.pop_back();
        const bool is_node = part.kind == Message::node;
        if (is_node && ++nodes > max_nodes) return "more than 20,000 nodes";
        std::size_t at = part.begin;
        // Reads a number; false where it does not end.
        const auto varint = [&](std::uint64_t& value) {
            value = 0;
            for (unsigned shift = 0; at < part.end && shift < 70; shift += 7) {
                const std::uint8_t byte = data[at++];
                if (shift < 64) value |= static_cast<std::uint64_t>(byte & 127U) << shift;
                // More than 64 bits are larger than any size.
                if (shift == 63 && (byte & 126U) != 0) value = ~std::uint64_t{0};
                if (byte < 128) return true;
            }
            return false;
        };
        while (at < part.end) {
            if (++fields > max_fields) return "more than 1,000,000 fields";
            std::uint64_t key = 0;
            if (!varint(key)) return endless;
            const std::uint64_t field = key >> 3;
            if (const char* why = refused(part.kind, field)) return why;
            std::uint64_t length = 0;
            switch (key & 7U) {
                case 0: {
                    std::uint64_t value = 0;
                    if (!varint(value)) return endless;
                    if (part.kind == Message::tensor && field == 14 && value != 0) return outside;
                    break;
                }
                case 1:
                    length = 8;
                    break;
                case 5:
                    length = 4;
                    break;
                case 2: {
                    if (!varint(length)) return endless;
                    const std::size_t begin = at;
                    const bool fits = length <= part.end - at;
                    const Message kind = inside(part.kind, field);
                    if (kind != Message::none) {
                        if (!fits) return endless;
                        waiting.push_back({kind, begin, begin + static_cast<std::size_t>(length)});
                    } else if (is_node && (field == 4 || field == 7)) {
                        const std::size_t count = std::min<std::size_t>(
                            shown, static_cast<std::size_t>(std::min<std::uint64_t>(length, size - begin)));
                        const std::string why =
                            refused_operator(field, {reinterpret_cast<const char*>(data + begin), count});
                        if (!why.empty()) return why;
                    }
                    break;
                }
                default:
                    return "a field of a kind that ONNX does not have";
            }
            if (length > part.end - at) return endless;
            at += static_cast<std::size_t>(length);
        }
    }
    return {};
}

}  // namespace ghostclas
