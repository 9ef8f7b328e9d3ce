// The pixels and the scores by themselves: what needs no Python, on every machine that the library runs on.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "exif.hpp"
#include "ghostclas/error.hpp"
#include "identify.hpp"
#include "netpbm.hpp"
#include "pixels.hpp"
#include "resample.hpp"
#include "scores.hpp"
#include "text.hpp"
#include "unpack.hpp"

using namespace ghostclas;
using File = std::vector<std::uint8_t>;

namespace {

std::string golden_folder() {
    const char* folder = std::getenv("GHOSTCLAS_GOLDEN");
    return folder != nullptr ? folder : GHOSTCLAS_GOLDEN;
}

File read(const std::string& name) {
    std::ifstream file(golden_folder() + "/" + name, std::ios::binary);
    REQUIRE_MESSAGE(file.good(), name);
    return File(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
}

File bytes_of(const std::string& text) { return File(text.begin(), text.end()); }

nlohmann::json cases() {
    const File file = read("cases.json");
    return nlohmann::json::parse(file.begin(), file.end());
}

PreprocessSpec spec_of(const nlohmann::json& fields) {
    const std::string name = fields["resize"]["interpolation"];
    PreprocessSpec spec;
    spec.short_side = fields["resize"]["short_side"];
    spec.interpolation = name == "nearest"    ? Interpolation::nearest
                         : name == "bilinear" ? Interpolation::bilinear
                         : name == "bicubic"  ? Interpolation::bicubic
                                              : Interpolation::lanczos;
    spec.antialias = fields["resize"]["antialias"];
    const std::string library = fields["resize"].value("library", "");
    spec.library = library == "opencv" ? ResizeLibrary::opencv : library == "pillow" ? ResizeLibrary::pillow : ResizeLibrary::none;
    if (fields["resize"].contains("size")) {
        spec.width = fields["resize"]["size"][0];
        spec.height = fields["resize"]["size"][1];
    }
    spec.crop = fields["crop"];
    spec.exif = fields["exif"];
    return spec;
}

File preprocessed(const File& file, const PreprocessSpec& spec) {
    File out(static_cast<std::size_t>(spec.crop) * static_cast<std::size_t>(spec.crop) * 3);
    preprocess("the image", file.data(), file.size(), spec, out.data());
    return out;
}

// The code of the error, and its sentence.
std::pair<std::string, std::string> refusal(const File& file) {
    try {
        preprocessed(file, {});
    } catch (const Error& error) {
        return {error.code(), error.what()};
    }
    return {"", "it was read"};
}

// A PPM of width x height pixels that count up.
File ppm(int width, int height) {
    File file = bytes_of("P6 " + std::to_string(width) + " " + std::to_string(height) + " 255\n");
    for (int i = 0; i < width * height * 3; ++i) file.push_back(static_cast<std::uint8_t>(i * 7));
    return file;
}

}  // namespace

TEST_CASE("the golden pixels") {
    int compared = 0;
    const auto document = cases();
    for (const auto& row : document["preprocess"]) {
        const std::string name = row["image"];
        CAPTURE(row["expected"]);
        const PreprocessSpec spec = spec_of(row["spec"]);
        const File found = preprocessed(read("images/" + name), spec);
        const File expected = read("expected/" + row["expected"].get<std::string>());
        REQUIRE(expected.size() > found.size());
        const std::uint8_t* pixel = expected.data() + (expected.size() - found.size());
        int furthest = 0;
        for (std::size_t i = 0; i < found.size(); ++i) furthest = std::max(furthest, std::abs(found[i] - pixel[i]));
        CHECK(furthest <= row["tolerance"].get<int>());
        ++compared;
    }
    CHECK(compared >= 29);
}

TEST_CASE("the golden scores") {
    const auto document = cases();
    for (const auto& row : document["scores"]) {
        const std::vector<float> logits = row["logits"];
        const std::vector<float> expected = row["softmax"];
        const auto scores = softmax(logits.data(), 1, logits.size(), row["temperature"]);
        for (std::size_t i = 0; i < scores.size(); ++i) {
            CHECK(scores[i] == doctest::Approx(static_cast<double>(expected[i])).epsilon(1e-6));
        }
        CHECK(top_k(scores.data(), 1, scores.size(), row["k"]) == row["top"].get<std::vector<std::int64_t>>());
    }
}

TEST_CASE("files that are no images are refused in Python's words") {
    CHECK(refusal({}) == std::pair<std::string, std::string>("empty", "the image is empty (0 bytes)"));
    CHECK(refusal(bytes_of("%PDF-1.7")).second ==
          "the image holds PDF data, which is not read; save it as JPEG or PNG");
    CHECK(refusal(bytes_of("BMW makes cars.")).first == "not_an_image");
    CHECK(refusal(bytes_of("GIF89a")).second ==
          "the image is cut short or damaged (GIF: its content ends or breaks off unexpectedly); get the file again");
    File half = ppm(90, 70);
    half.resize(half.size() / 2);
    CHECK(refusal(half).second.find("image file is truncated (") != std::string::npos);
    CHECK(refusal(bytes_of("P6 60000 60000 255\n")).second ==
          "the image has 60000 x 60000 = 3,600,000,000 pixels, the limit is 200,000,000; make it smaller first");
}

TEST_CASE("an error leaves the result as it was") {
    File out(32 * 32 * 3, 77);
    PreprocessSpec spec;
    spec.short_side = spec.crop = 32;
    const File bad = bytes_of("P6 40 40 255\n");
    CHECK_THROWS_AS(preprocess("bad", bad.data(), bad.size(), spec, out.data()), Error);
    CHECK(out == File(32 * 32 * 3, 77));
}

TEST_CASE("an image of the right short side is cut without resampling") {
    PreprocessSpec spec;
    spec.short_side = spec.crop = 32;
    const File file = ppm(40, 32);
    const std::uint8_t* pixels = file.data() + (file.size() - 40 * 32 * 3);
    for (const auto interpolation : {Interpolation::bilinear, Interpolation::bicubic, Interpolation::lanczos}) {
        spec.interpolation = interpolation;
        const File found = preprocessed(file, spec);
        for (std::size_t y = 0; y < 32; ++y) {
            CHECK(std::equal(found.begin() + static_cast<std::ptrdiff_t>(y * 96),
                             found.begin() + static_cast<std::ptrdiff_t>((y + 1) * 96), pixels + (y * 40 + 4) * 3));
        }
    }
}

TEST_CASE("every thread gets the same pixels") {
    const File file = read("images/scaled_by_the_decoder.jpg");
    const File expected = preprocessed(file, {});
    std::vector<File> found(4, File(expected.size()));
    // A budget that one image takes wholly: they wait for each other.
    MemoryBudget budget(1000);
    std::vector<std::thread> threads;
    for (File& mine : found) {
        threads.emplace_back([&file, &mine, &budget] {
            for (int round = 0; round < 5; ++round) {
                preprocess("photo", file.data(), file.size(), {}, mine.data(), &budget);
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    for (const File& mine : found) CHECK(mine == expected);
}

TEST_CASE("an image that is refused returns its part of the budget") {
    MemoryBudget budget(1000);
    const File bad = bytes_of("P6 400 400 255\n");
    File out(224 * 224 * 3);
    for (int round = 0; round < 3; ++round) {
        CHECK_THROWS_AS(preprocess("bad", bad.data(), bad.size(), {}, out.data(), &budget), Error);
    }
    const MemoryBudget::Part all(&budget, 5000);
}

TEST_CASE("scores that are not finite are refused") {
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    for (const float value : {kInfinity, -kInfinity, std::numeric_limits<float>::quiet_NaN()}) {
        const std::vector<float> logits{1, 2, value, value};
        CHECK_THROWS_WITH_AS(softmax(logits.data(), 2, 2, 1.0),
                             "the logits of image 1 in a batch of 2 are not finite: the model overflowed or is damaged; "
                             "use its fp32 file, or verify the bundle",
                             Error);
    }
    const float one = 1;
    CHECK_THROWS_WITH_AS(softmax(&one, 1, 1, 0.0), "temperature must be a positive number, got 0.0", Error);
    CHECK_THROWS_WITH_AS(top_k(&one, 1, 1, 0), "top must be at least 1, got 0", Error);
}

TEST_CASE("equal scores keep the order of their indices") {
    const std::vector<float> scores{0.25F, 0.5F, 0.25F, 0.0F, 0.5F};
    CHECK(top_k(scores.data(), 1, scores.size(), 9) == std::vector<std::int64_t>{1, 4, 0, 2, 3});
    CHECK(top_k(scores.data(), 1, scores.size(), 2) == std::vector<std::int64_t>{1, 4});
}

TEST_CASE("the orientation lies in both orders of bytes, and damage means none") {
    const File little{'I', 'I', '*', 0, 8, 0, 0, 0, 1, 0, 0x12, 1, 3, 0, 1, 0, 0, 0, 6, 0, 0, 0};
    const File big{'M', 'M', 0, '*', 0, 0, 0, 8, 0, 1, 1, 0x12, 0, 3, 0, 0, 0, 1, 0, 8, 0, 0};
    CHECK(orientation({little.data(), little.size()}) == 6);
    CHECK(orientation({big.data(), big.size()}) == 8);
    for (std::size_t size = 0; size < 20; ++size) CHECK(orientation({little.data(), size}) == 1);
}

TEST_CASE("words of 12 bits") {
    const File packed{0xAB, 0xCD, 0xEF, 0x12, 0x30};
    Pixels row(Mode::grey16, 3, 1);
    packing("I;12", Mode::grey16).unpack(row.row(0), packed.data(), 3);
    std::uint16_t words[3];
    std::memcpy(words, row.row(0), sizeof words);
    CHECK(words[0] == 0xABC);
    CHECK(words[1] == 0xDEF);
    CHECK(words[2] == 0x123);
}

TEST_CASE("colours that were multiplied by their alpha") {
    const File packed{64, 128, 200, 128, 7, 7, 7, 0, 9, 9, 9, 255};
    File out(12);
    packing("RGBa", Mode::rgba).unpack(out.data(), packed.data(), 3);
    CHECK(out == File{127, 255, 255, 128, 0, 0, 0, 0, 9, 9, 9, 255});
    CHECK_THROWS_AS(packing("RGBa", Mode::rgb), Damaged);
}

TEST_CASE("text of pixels becomes binary") {
    File converted;
    const File file = bytes_of("P3 # two\n1 2 15\n15 0 7 # and\n1 2 3");
    const Bytes binary = to_binary({file.data(), file.size()}, converted);
    File expected = bytes_of("P6 1 2 255 ");
    for (const int value : {255, 0, 119, 17, 34, 51}) expected.push_back(static_cast<std::uint8_t>(value));
    CHECK(File(binary.data(), binary.data() + binary.size()) == expected);
    const File bad = bytes_of("P2 2 1 9\n3 10");
    CHECK_THROWS_AS(to_binary({bad.data(), bad.size()}, converted), Damaged);
}

TEST_CASE("the box is inside the image for every size") {
    PreprocessSpec spec;
    for (const int width : {1, 2, 3, 17, 255, 256, 257, 5000}) {
        for (const int height : {1, 2, 3, 17, 255, 256, 257, 5000}) {
            const Box box = crop_box(width, height, spec);
            CHECK((0 <= box.left && box.left < box.right && box.right <= width));
            CHECK((0 <= box.top && box.top < box.bottom && box.bottom <= height));
        }
    }
}

TEST_CASE("numbers as Python writes them") {
    CHECK(number(0.1) == "0.1");
    CHECK(number(-1.0) == "-1.0");
    CHECK(number(1e16) == "1e+16");
    CHECK(number(123456789012345.0) == "123456789012345.0");
    CHECK(number(0.0001) == "0.0001");
    CHECK(thousands(0) == "0");
    CHECK(thousands(999) == "999");
    CHECK(thousands(1234567) == "1,234,567");
}
