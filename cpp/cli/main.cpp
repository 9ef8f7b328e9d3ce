// ghostclas-infer: the arguments, the lines of JSON and the exit codes of `ghostclas predict --json`.
#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <exception>
#include <functional>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "files.hpp"
#include "ghostclas/classifier.hpp"
#include "locate.hpp"
#include "photos.hpp"
#include "strings.hpp"

namespace {

using ghostclas::Error;
using ghostclas::Kind;

constexpr const char* help =
    "usage: ghostclas-infer PATH... [OPTIONS]\n"
    "\n"
    "Labels photos. Prints one JSON object a line, in the order given. A photo that cannot be read is a result\n"
    "with an error in its place; the exit code is then 3.\n"
    "\n"
    "  PATH...             photos, folders, patterns, or - for a list of them on stdin\n"
    "  --model MODEL       a bundle (folder or .zip), a run, or default, the built-in model\n"
    "  --engine NAME       onnxruntime or openvino; auto is ONNX Runtime\n"
    "  --precision NAME    fp32, fp16 or int8, if the model has several\n"
    "  --top N             the number of labels of each photo (5)\n"
    "  --json              for the arguments of ghostclas predict; there is no other output\n"
    "  --threads N         the number of cores; all when absent\n"
    "  --batch-size N      the number of photos in a batch (4)\n"
    "  --runtime PATH      the library of the runtime, or the folder that it is in\n"
    "  -q, --quiet         say nothing but results and errors\n"
    "  -v, --verbose       say which bundle and which runtime answer\n"
    "  --bench             print the latency of a photo and photos a second instead of the answers\n"
    "  --version           print the version\n"
    "  -h, --help          print this text\n";

struct Arguments {
    std::vector<std::string> paths;
    std::string model = "default";
    ghostclas::Options options;
    long top = 5;
    bool bench = false;
    bool quiet = false;
    bool verbose = false;
};

// Options of ghostclas predict that write files, and those that go with them.
bool is_left_to_python(const std::string& name) {
    constexpr const char* names[] = {"--output", "--excel", "--resume",    "--report", "--sort", "--copy",
                                     "--move",   "--link",  "--min-score", "--undo",   "--demo"};
    return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

[[noreturn]] void misused(const std::string& why) {
    throw Error(Kind::usage, "usage", why + "\n       see: ghostclas-infer --help");
}

long to_number(const std::string& name, const std::string& text) {
    long value = 0;
    const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
    if (read.ec != std::errc{} || read.ptr != text.data() + text.size()) {
        misused("invalid value for '" + name + "': " + ghostclas::quoted(text) + " is not a valid integer");
    }
    return value;
}

long at_least_one(const std::string& name, const std::string& what, const std::string& text) {
    const long value = to_number(name, text);
    if (value < 1) throw Error(Kind::usage, "usage", what + " must be at least 1, got " + std::to_string(value));
    return value;
}

// Returns nothing where the help or the version was asked for and printed.
std::optional<Arguments> parse(const std::vector<std::string>& words) {
    Arguments arguments;
    bool has_options = true;
    for (std::size_t i = 0; i < words.size(); ++i) {
        const std::string& word = words[i];
        if (!has_options || word.size() < 2 || word[0] != '-') {
            arguments.paths.push_back(word);
            continue;
        }
        if (word == "--") {
            has_options = false;
            continue;
        }
        const std::size_t equals = word.find('=');
        const std::string name = word.substr(0, equals);
        const auto value = [&] {
            if (equals != std::string::npos) return word.substr(equals + 1);
            if (i + 1 == words.size()) throw Error(Kind::usage, "usage", "option '" + name + "' requires an argument.");
            return words[++i];
        };
        const auto flag = [&] {
            if (equals != std::string::npos) throw Error(Kind::usage, "usage", "option '" + name + "' does not take a value.");
        };
        if (name == "--model") {
            arguments.model = value();
        } else if (name == "--engine") {
            arguments.options.engine = value();
        } else if (name == "--precision") {
            arguments.options.precision = value();
        } else if (name == "--runtime") {
            arguments.options.runtime = value();
        } else if (name == "--top") {
            arguments.top = at_least_one(name, "top", value());
        } else if (name == "--threads") {
            arguments.options.threads = static_cast<int>(std::min(at_least_one(name, "threads", value()), 1024L));
        } else if (name == "--batch-size") {
            arguments.options.batch_size = static_cast<std::size_t>(at_least_one(name, "batch_size", value()));
        } else if (name == "--json") {
            flag();
        } else if (name == "--quiet" || name == "-q") {
            flag();
            arguments.quiet = true;
        } else if (name == "--verbose" || name == "-v") {
            flag();
            arguments.verbose = true;
        } else if (name == "--bench") {
            flag();
            arguments.bench = true;
        } else if (name == "--version") {
            ghostclas::write_stdout("ghostclas-infer " GHOSTCLAS_VERSION "\n");
            return std::nullopt;
        } else if (name == "--help" || name == "-h") {
            ghostclas::write_stdout(help);
            return std::nullopt;
        } else if (is_left_to_python(name)) {
            throw Error(Kind::usage, "usage",
                        name + " is an option of ghostclas predict; here the answers go to stdout, so redirect them to a file");
        } else {
            misused("no such option: " + name);
        }
    }
    if (arguments.quiet && arguments.verbose) throw Error(Kind::usage, "usage", "give one of --quiet and --verbose");
    if (arguments.paths.empty()) {
        throw Error(Kind::usage, "usage", "ghostclas-infer needs a photo, a folder, a pattern or -");
    }
    return arguments;
}

// The lines of standard input, one path each; empty ones and a byte order mark are skipped.
class List {
  public:
    std::optional<std::string> next() {
        while (true) {
            const std::size_t end = buffer_.find('\n', at_);
            if (end == std::string::npos && !has_ended_) {
                fill();
                continue;
            }
            if (end == std::string::npos && at_ == buffer_.size()) return std::nullopt;
            std::string line = buffer_.substr(at_, end == std::string::npos ? end : end - at_);
            at_ = end == std::string::npos ? buffer_.size() : end + 1;
            if (is_first_) check_start(line);
            is_first_ = false;
            while (!line.empty() && line.back() == '\r') line.pop_back();
            if (!line.empty()) return line;
        }
    }

  private:
    void fill() {
        buffer_.erase(0, at_);
        at_ = 0;
        const std::size_t size = buffer_.size();
        buffer_.resize(size + (1U << 16));
        const std::size_t count = ghostclas::read_stdin(buffer_.data() + size, buffer_.size() - size);
        buffer_.resize(size + count);
        has_ended_ = count == 0;
    }

    static void check_start(std::string& line) {
        if (ghostclas::starts_with(line, "\xff\xfe") || ghostclas::starts_with(line, "\xfe\xff")) {
            throw Error(Kind::usage, "usage", "the list is UTF-16 text; write it as UTF-8");
        }
        if (ghostclas::starts_with(line, "\xef\xbb\xbf")) line.erase(0, 3);
    }

    std::string buffer_;
    std::size_t at_ = 0;
    bool is_first_ = true;
    bool has_ended_ = false;
};

// The photos that the arguments name, one by one.
class Photos {
  public:
    explicit Photos(std::vector<std::string> words) : words_(std::move(words)) {}

    std::optional<std::string> next() {
        while (true) {
            if (search_) {
                if (auto found = search_->next()) return found;
                search_.reset();
            }
            if (list_) {
                if (auto line = list_->next()) {
                    search_.emplace(*line, true, left_out);
                    continue;
                }
                list_.reset();
            }
            if (at_ == words_.size()) return std::nullopt;
            const std::string& word = words_[at_++];
            if (word == "-") {
                list_.emplace();
            } else {
                search_.emplace(word, false, left_out);
            }
        }
    }

    ghostclas::LeftOut left_out;

  private:
    std::vector<std::string> words_;
    std::size_t at_ = 0;
    std::optional<ghostclas::PhotoSearch> search_;
    std::optional<List> list_;
};

void note(const std::string& text) { ghostclas::write_stderr(ghostclas::printable_message(text) + "\n"); }

std::string joined_words(const std::vector<std::string>& words) {
    std::string text;
    for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
    return text;
}

void say(const std::string& line) {
    try {
        ghostclas::write_stdout(line);
    } catch (const ghostclas::FileProblem& problem) {
        if (problem.broken_pipe()) throw;
        throw Error(Kind::usage, "usage", std::string("cannot write to stdout: ") + problem.what());
    }
}

void predict(const Arguments& arguments) {
    const ghostclas::Classifier classifier(arguments.model, arguments.options);
    if (arguments.verbose) {
        note("model: " + ghostclas::locate_bundle(arguments.model) + ", a bundle");
        note("engine: " + classifier.engine());
    }
    Photos photos(arguments.paths);
    std::size_t done = 0;
    std::size_t failed = 0;
    classifier.stream([&photos] { return photos.next(); },
                      [&](const ghostclas::Prediction& prediction) {
                          say(ghostclas::to_json(prediction) + "\n");
                          ++done;
                          failed += prediction.error ? 1U : 0U;
                          return true;
                      },
                      static_cast<std::size_t>(arguments.top));
    const std::string left_out = photos.left_out.empty() ? "" : ghostclas::describe_left_out(photos.left_out);
    if (done == 0) {
        throw Error(Kind::data, "no_images",
                    "there are no images in " + joined_words(arguments.paths) + (left_out.empty() ? "" : "; " + left_out));
    }
    if (!left_out.empty() && !arguments.quiet) note(left_out);
    if (failed > 0) {
        throw Error(Kind::data, "failed",
                    std::to_string(failed) + " of " + std::to_string(done) +
                        " photos could not be labelled; each result has its error");
    }
}

double milliseconds_since(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

// Measures one photo at a time, and then all of them as predict() answers them.
void bench(const Arguments& arguments) {
    const ghostclas::Classifier classifier(arguments.model, arguments.options);
    Photos photos(arguments.paths);
    std::vector<std::string> files;
    while (auto file = photos.next()) files.push_back(std::move(*file));
    if (files.empty()) throw Error(Kind::data, "no_images", "there are no images in " + joined_words(arguments.paths));
    const auto top = static_cast<std::size_t>(arguments.top);
    classifier.predict(files[0], top);  // the first run sets up what the others use
    constexpr std::size_t most = 200;
    std::vector<double> times;
    for (std::size_t i = 0; i < std::min(files.size(), most); ++i) {
        const auto start = std::chrono::steady_clock::now();
        classifier.predict(files[i], top);
        times.push_back(milliseconds_since(start));
    }
    std::sort(times.begin(), times.end());
    const auto start = std::chrono::steady_clock::now();
    classifier.predict(files, top);
    const double total = milliseconds_since(start);
    const auto quantile = [&times](double part) { return times[static_cast<std::size_t>(part * static_cast<double>(times.size() - 1) + 0.5)]; };
    char text[256];
    std::snprintf(text, sizeof text, "%s: p50 %.2f ms, p95 %.2f ms a photo (%zu photos); %.1f photos/s (%zu photos)\n",
                  classifier.engine().c_str(), quantile(0.5), quantile(0.95), times.size(),
                  1000 * static_cast<double>(files.size()) / total, files.size());
    say(text);
}

int fail(const std::string& message, int code) {
    try {
        note("error: " + message);
    } catch (const ghostclas::FileProblem&) {
        // Nobody reads it.
    }
    return code;
}

}  // namespace

int main(int count, char** words) {
    try {
        const std::optional<Arguments> arguments = parse(ghostclas::program_arguments(count, words));
        if (arguments) arguments->bench ? bench(*arguments) : predict(*arguments);
        return 0;
    } catch (const Error& error) {
        return fail(error.what(), error.exit_code());
    } catch (const ghostclas::FileProblem& problem) {
        // The reader of the pipe has closed it.
        return problem.broken_pipe() ? 1 : fail(problem.what(), 1);
    } catch (const std::bad_alloc&) {
        return fail("there is not enough memory", 1);
    } catch (const std::exception& problem) {
        return fail(problem.what(), 1);
    }
}
