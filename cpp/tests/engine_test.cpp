// What needs no Python: text, JSON, hashes, archives, patterns; and one classifier in many threads, where a runtime is.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "bundle.hpp"
#include "files.hpp"
#include "ghostclas/classifier.hpp"
#include "json.hpp"
#include "onnx_graph.hpp"
#include "sha256.hpp"
#include "strings.hpp"
#include "zip.hpp"

using namespace ghostclas;

namespace {

std::string json_number(double value) {
    std::string text;
    append_json_number(text, value);
    return text;
}

// Levels that begin and end with these, and a number within.
std::string nested(const std::string& begin, int levels, const std::string& end) {
    std::string text;
    for (int i = 0; i < levels; ++i) text += begin;
    text += '1';
    for (int i = 0; i < levels; ++i) text += end;
    return text;
}

std::string refusal_of(const std::string& text) {
    try {
        parse_json(text);
    } catch (const JsonProblem& problem) {
        return problem.what();
    }
    return "";
}

}  // namespace

TEST_CASE("text that is no UTF-8 stays readable") {
    CHECK(valid_utf8("a\xff.jpg") == "a\\udcff.jpg");
    CHECK(valid_utf8("\xc3\xa9") == "\xc3\xa9");
    CHECK(quoted("it's\n\xe2\x80\xa8") == "\"it's\\n\\u2028\"");
    CHECK(printable("a\x1b[2J\xe2\x80\xae") == "a\\x1b[2J\\u202e");
    CHECK(printable_message("one\ntwo") == "one\n       two");
    CHECK(length_of("\xe5\xb0\x8f\xe7\x8b\x97") == 2);
    CHECK(comes_before("a", "b"));
    CHECK_FALSE(comes_before("b", "ab"));
    CHECK(utf8_problem("ab\xe4\xbd") == "'utf-8' codec can't decode bytes in position 2-3: unexpected end of data");
}

TEST_CASE("numbers of predictions are written as Python writes them") {
    CHECK(json_number(0.1F) == "0.10000000149011612");
    CHECK(json_number(1e-7) == "1e-7");
    CHECK(json_number(1.5e-5) == "0.000015");
    CHECK(json_number(1.0) == "1.0");
    CHECK(json_number(0.0) == "0.0");
    CHECK(json_number(1e16) == "1e16");
}

TEST_CASE("JSON is refused at the place where Python refuses it") {
    CHECK(refusal_of("{\"a\": 1,}") == "Expecting property name enclosed in double quotes: line 1 column 9 (char 8)");
    CHECK(refusal_of("[1") == "Expecting ',' delimiter: line 1 column 3 (char 2)");
    CHECK(refusal_of("\n x") == "Expecting value: line 2 column 2 (char 2)");
    CHECK(refusal_of("{\"a\": 1, \"a\": 2}") == "the key 'a' occurs twice");
    CHECK(refusal_of("1e999") == "1e999 is too large for a number");
    CHECK(refusal_of("[-Infinity]") == "-Infinity is no number");
    CHECK(refusal_of(std::string(100000, '[')).find("maximum recursion depth exceeded") == 0);
    CHECK(refusal_of("{\"a\": [[], {\"b\": 1}, {}, [2, [3]]], \"c\": {\"d\": [}}") ==
          "Expecting value: line 1 column 49 (char 48)");
    CHECK(refusal_of(nested("[", 900, "]")).empty());
    CHECK(refusal_of(nested("[", 900, "}")) == "Expecting ',' delimiter: line 1 column 902 (char 901)");
    CHECK(refusal_of(nested("{\"a\":", 900, "}")).empty());
    CHECK(second_reading_problem(parse_json(nested("[", 202, "]"))) ==
          "Invalid JSON: recursion limit exceeded at line 1 column 202");
    CHECK(second_reading_problem(parse_json(nested("[", 201, "]"))).empty());
    const std::string inside = "[{\"a\": [1, [], {}]}, [[\"b\"]], {}]";
    CHECK(dump_json(parse_json(inside), {}) == inside);
    CHECK(refusal_of("[1, 2.5, \"\\ud83d\\ude00\", null]").empty());
    CHECK(dump_json(parse_json("{\"b\": [1e-5, -0, 1.0], \"a\": \"\\u00e9\\u007f\"}"), {true, false}) ==
          "{\"a\":\"\\u00e9\\u007f\",\"b\":[1e-05,0,1.0]}");
}

TEST_CASE("SHA-256 of the standard's examples") {
    CHECK(sha256_of("abc", 3) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    Sha256 hash;
    const std::string part(1000, 'a');
    for (int i = 0; i < 1000; ++i) hash.update(part.data(), part.size());
    CHECK(hash.hex() == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("names that could leave a bundle are refused") {
    CHECK(name_problem("model.onnx").empty());
    CHECK(name_problem("a/b/c.bin").empty());
    for (const char* name : {"", "..", "a/../b", "/a", "a//b", "a\\b", "C:a", "a\nb", "a/"}) {
        CHECK_FALSE(name_problem(name).empty());
    }
}

TEST_CASE("bytes that are no archive and no graph are refused") {
    const std::vector<std::uint8_t> bytes = {'P', 'K', 3, 4, 0, 0, 0, 0};
    CHECK_THROWS_AS(open_archive("x.zip", bytes.data(), bytes.size()), Error);
    CHECK(refused_in_graph(bytes.data(), bytes.size()).find("a field") == 0);
    CHECK(refused_in_graph(bytes.data(), 0).empty());
}

TEST_CASE("paths are written as pathlib writes them") {
#if !defined(_WIN32)
    CHECK(plain_path("./a//b/") == "a/b");
    CHECK(plain_path("//a/./b") == "//a/b");
    CHECK(plain_path("///") == "/");
    CHECK(plain_path("") == ".");
#else
    CHECK(plain_path("C:/a//b/") == "C:\\a\\b");
    CHECK(plain_path("./a/b") == "a\\b");
#endif
}

TEST_CASE("no path is cut at a NUL") {
    const std::string path(".\0x", 3);
    CHECK(is_folder("."));
    CHECK(status_of(path).kind == FileKind::unreadable);
    CHECK(status_of(path).problem.find("embedded null") != std::string::npos);
    CHECK_THROWS_AS(File{path}, FileProblem);
    CHECK_THROWS_AS(Listing{path}, FileProblem);
}

TEST_CASE("many threads share one classifier, one by one and streaming") {
    const auto bundle = environment("GHOSTCLAS_TEST_BUNDLE");
    std::unique_ptr<Classifier> classifier;
    try {
        Options options;
        options.threads = 2;
        if (bundle) classifier = std::make_unique<Classifier>(*bundle, options);
    } catch (const Error& error) {
        if (error.kind() != Kind::missing) throw;
    }
    if (!classifier) {
        MESSAGE("skipped: no ONNX Runtime; GHOSTCLAS_ONNXRUNTIME names the folder of its library");
        return;
    }
    std::vector<std::uint8_t> rgb(200 * 150 * 3);
    for (std::size_t i = 0; i < rgb.size(); ++i) rgb[i] = static_cast<std::uint8_t>(i * 7 % 251);
    const Image image = Image::rgb(rgb.data(), 200, 150);
    const std::string expected = to_json(classifier->predict(image));
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
        threads.emplace_back([&] {
            for (int round = 0; round < 3; ++round) {
                if (to_json(classifier->predict(image)) != expected) ++wrong;
                std::string json;
                for (const Prediction& prediction : classifier->predict(std::vector<Image>(9, image))) {
                    if (prediction.top.size() != 5 || prediction.error) ++wrong;
                }
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(wrong == 0);
}
