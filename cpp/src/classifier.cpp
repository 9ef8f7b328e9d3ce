#include "ghostclas/classifier.hpp"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <future>
#include <mutex>
#include <new>
#include <queue>
#include <thread>
#include <utility>

#include "bundle.hpp"
#include "engine.hpp"
#include "files.hpp"
#include "json.hpp"
#include "locate.hpp"
#include "photos.hpp"
#include "pixels.hpp"
#include "scores.hpp"
#include "strings.hpp"

namespace ghostclas {
namespace {

constexpr std::size_t default_batch = 4;
constexpr int most_threads = 1024;

// A photo that waits: the name of its file, or what the caller has in memory.
struct Source {
    std::optional<std::string> file;
    Image image;
};

using Batch = std::vector<Source>;
using Answers = std::vector<Prediction>;

// Threads that run tasks in the order in which they came, started as tasks come: at most `most`, or as many as the
// system gives. Where it gives none, whoever submits a task runs it.
class Workers {
  public:
    explicit Workers(std::size_t most) : most_(most) {}
    ~Workers() {
        {
            const std::lock_guard lock(mutex_);
            tasks_ = {};
            has_ended_ = true;
        }
        wake_.notify_all();
        for (std::thread& thread : threads_) thread.join();
    }
    Workers(const Workers&) = delete;
    Workers& operator=(const Workers&) = delete;

    std::future<Answers> submit(std::packaged_task<Answers()> task) {
        std::future<Answers> result = task.get_future();
        {
            const std::lock_guard lock(mutex_);
            tasks_.push(std::move(task));
        }
        start_one();
        if (threads_.empty()) {
            run_next();
        } else {
            wake_.notify_one();
        }
        return result;
    }

  private:
    void start_one() {
        if (threads_.size() >= most_) return;
        try {
            threads_.emplace_back([this] { work(); });
        } catch (const std::exception&) {
            // The system has no more threads, or no memory for their stacks.
            most_ = threads_.size();
        }
    }

    // Runs the task that is the only one.
    void run_next() {
        std::packaged_task<Answers()> task = std::move(tasks_.front());
        tasks_.pop();
        task();
    }

    void work() {
        while (true) {
            std::packaged_task<Answers()> task;
            {
                std::unique_lock lock(mutex_);
                wake_.wait(lock, [this] { return has_ended_ || !tasks_.empty(); });
                if (tasks_.empty()) return;
                task = std::move(tasks_.front());
                tasks_.pop();
            }
            task();
        }
    }

    std::mutex mutex_;
    std::condition_variable wake_;
    std::queue<std::packaged_task<Answers()>> tasks_;
    bool has_ended_ = false;
    std::size_t most_;
    std::vector<std::thread> threads_;
};

void check_top(std::size_t top) {
    if (top < 1) throw Error(Kind::usage, "usage", "top must be at least 1, got " + std::to_string(top));
}

void append_label(std::string& json, const Label& label) {
    json += "{\"index\":" + std::to_string(label.index) + ",\"label\":";
    append_json_string(json, label.label);
    json += ",\"score\":";
    append_json_number(json, static_cast<double>(label.score));
    json += "}";
}

}  // namespace

struct Classifier::State {
    Bundle bundle;
    std::unique_ptr<Engine> engine;
    std::size_t batch_size = default_batch;
    std::size_t workers = 1;
    mutable MemoryBudget memory;  // large photos wait for each other

    State(const std::string& path, const Options& options) : bundle(path) {
        const int threads = std::min(options.threads, most_threads);
        const int cores = threads > 0 ? threads : usable_cores();
        EngineOptions wanted;
        wanted.engine = options.engine;
        wanted.precision = options.precision;
        wanted.runtime = options.runtime;
        wanted.threads = threads;
        wanted.concurrency = cores;
        engine = open_engine(bundle, wanted);
        if (options.batch_size > 0) batch_size = options.batch_size;
        // OpenVINO computes in threads of its own: a second worker prepares its batch while the first waits.
        const bool has_own_threads = std::string_view(engine->name()) == "openvino" && cores >= usable_cores();
        workers = static_cast<std::size_t>(cores) * (has_own_threads ? 2U : 1U);
    }

    const PreprocessSpec& spec() const { return bundle.manifest().preprocess; }
    std::size_t image_bytes() const {
        return static_cast<std::size_t>(spec().crop) * static_cast<std::size_t>(spec().crop) * 3;
    }

    void prepare(const std::string& name, const Image& image, std::uint8_t* pixels) const {
        try {
            if (image.size == 0 && (image.width != 0 || image.height != 0)) {
                preprocess_rgb(image.data, image.width, image.height, spec(), pixels);
            } else {
                ghostclas::preprocess(name, image.data, image.size, spec(), pixels, &memory);
            }
        } catch (const std::bad_alloc&) {
            throw Error(Kind::data, "too_large", name + " does not fit into memory; make it smaller first");
        }
    }

    void prepare(const Source& source, std::uint8_t* pixels) const {
        if (!source.file) return prepare("the image", source.image, pixels);
        std::vector<std::uint8_t> content;
        try {
            content = read_photo(plain_path(*source.file));
        } catch (const std::bad_alloc&) {
            throw Error(Kind::data, "too_large", *source.file + " does not fit into memory; make it smaller first");
        }
        prepare(*source.file, Image{content.data(), content.size(), 0, 0}, pixels);
    }

    // Decodes a batch into the network's input and runs the network on it.
    Answers answer(const Batch& batch, std::size_t top) const {
        std::vector<std::uint8_t> pixels(batch.size() * image_bytes());
        Answers answers(batch.size());
        std::vector<std::size_t> good;
        for (std::size_t i = 0; i < batch.size(); ++i) {
            if (batch[i].file) answers[i].file = valid_utf8(*batch[i].file);
            try {
                prepare(batch[i], pixels.data() + good.size() * image_bytes());
                good.push_back(i);
            } catch (const Error& error) {
                if (error.kind() != Kind::data) throw;
                answers[i].error = PredictionError{error.code(), valid_utf8(error.what())};
            }
        }
        if (good.empty()) return answers;
        const std::vector<std::string>& classes = bundle.manifest().classes;
        const std::vector<float> logits = engine->run(pixels.data(), good.size());
        const std::vector<float> scores = softmax(logits.data(), good.size(), classes.size(), bundle.manifest().temperature);
        const std::size_t kept = std::min(top, classes.size());
        const std::vector<std::int64_t> best =
            top_k(scores.data(), good.size(), classes.size(), static_cast<std::int64_t>(kept));
        for (std::size_t row = 0; row < good.size(); ++row) {
            Prediction& prediction = answers[good[row]];
            for (std::size_t rank = 0; rank < kept; ++rank) {
                const auto index = static_cast<std::size_t>(best[row * kept + rank]);
                prediction.top.push_back({index, classes[index], scores[row * classes.size() + index]});
            }
            prediction.unknown = static_cast<double>(prediction.top[0].score) < bundle.manifest().unknown_below;
        }
        return answers;
    }

    // Answers what `next` gives, batch after batch, several batches at a time, in order.
    void stream(const std::function<std::optional<Source>()>& next, const std::function<bool(Prediction&)>& give,
                std::size_t top) const {
        check_top(top);
        std::exception_ptr failure;
        bool has_more = true;
        const auto take = [&] {
            Batch batch;
            try {
                while (has_more && batch.size() < batch_size) {
                    std::optional<Source> source = next();
                    if (!source) {
                        has_more = false;
                    } else {
                        batch.push_back(std::move(*source));
                    }
                }
            } catch (...) {
                // The photos before it are answered first.
                failure = std::current_exception();
                has_more = false;
            }
            return batch;
        };
        const auto give_all = [&](Answers answers) {
            return std::all_of(answers.begin(), answers.end(), [&](Prediction& prediction) { return give(prediction); });
        };
        Batch batch = take();
        if (batch.size() < 2 && batch_size >= 2) {
            // Starting threads for a single photo would only cost time.
            bool goes_on = true;
            for (; goes_on && !batch.empty(); batch = take()) goes_on = give_all(answer(batch, top));
        } else {
            std::deque<std::future<Answers>> pending;
            Workers pool(workers);
            const auto submit = [&] {
                pending.push_back(pool.submit(std::packaged_task<Answers()>(
                    [this, top, part = std::move(batch)] { return answer(part, top); })));
            };
            submit();
            while (!pending.empty()) {
                // Twice the workers, so that one slow photo at the front does not stop the others.
                while (has_more && pending.size() < 2 * workers) {
                    batch = take();
                    if (batch.empty()) break;
                    submit();
                }
                Answers answers = pending.front().get();
                pending.pop_front();
                if (!give_all(std::move(answers))) break;
            }
        }
        if (failure) std::rethrow_exception(failure);
    }

    template <typename Item, typename Convert>
    Answers answer_all(const std::vector<Item>& items, std::size_t top, Convert convert) const {
        Answers answers;
        answers.reserve(items.size());
        std::size_t at = 0;
        stream(
            [&]() -> std::optional<Source> {
                if (at == items.size()) return std::nullopt;
                return convert(items[at++]);
            },
            [&](Prediction& prediction) {
                answers.push_back(std::move(prediction));
                return true;
            },
            top);
        return answers;
    }
};

Classifier::Classifier(const std::string& bundle, const Options& options)
    : state_(std::make_unique<State>(locate_bundle(bundle), options)) {}

Classifier::~Classifier() = default;
Classifier::Classifier(Classifier&& other) noexcept = default;
Classifier& Classifier::operator=(Classifier&& other) noexcept = default;

Prediction Classifier::predict(const std::string& file, std::size_t top) const {
    check_top(top);
    return state_->answer({{file, {}}}, top)[0];
}

Prediction Classifier::predict(const Image& image, std::size_t top) const {
    check_top(top);
    return state_->answer({{std::nullopt, image}}, top)[0];
}

std::vector<Prediction> Classifier::predict(const std::vector<std::string>& files, std::size_t top) const {
    return state_->answer_all(files, top, [](const std::string& file) { return Source{file, {}}; });
}

std::vector<Prediction> Classifier::predict(const std::vector<Image>& images, std::size_t top) const {
    return state_->answer_all(images, top, [](const Image& image) { return Source{std::nullopt, image}; });
}

void Classifier::stream(const std::function<std::optional<std::string>()>& next,
                        const std::function<bool(const Prediction&)>& answer, std::size_t top) const {
    state_->stream(
        [&next]() -> std::optional<Source> {
            std::optional<std::string> file = next();
            if (!file) return std::nullopt;
            return Source{std::move(*file), {}};
        },
        answer, top);
}

void Classifier::preprocess(const Image& image, std::uint8_t* pixels, const std::string& name) const {
    state_->prepare(name, image, pixels);
}

std::vector<float> Classifier::logits(const std::uint8_t* pixels, std::size_t count) const {
    return state_->engine->run(pixels, count);
}

const std::string& Classifier::name() const { return state_->bundle.manifest().name; }
const std::vector<std::string>& Classifier::classes() const { return state_->bundle.manifest().classes; }
int Classifier::crop() const { return state_->spec().crop; }
std::string Classifier::engine() const { return state_->engine->name(); }

std::string to_json(const Prediction& prediction) {
    std::string json = "{\"file\":";
    if (prediction.file) {
        append_json_string(json, *prediction.file);
    } else {
        json += "null";
    }
    json += ",\"top\":[";
    for (std::size_t i = 0; i < prediction.top.size(); ++i) {
        if (i > 0) json += ",";
        append_label(json, prediction.top[i]);
    }
    json += std::string("],\"unknown\":") + (prediction.unknown ? "true" : "false") + ",\"error\":";
    if (prediction.error) {
        json += "{\"code\":";
        append_json_string(json, prediction.error->code);
        json += ",\"message\":";
        append_json_string(json, prediction.error->message);
        json += "}";
    } else {
        json += "null";
    }
    return printable_json(json + "}");
}

void verify_bundle(const std::string& path) { Bundle(path).check(); }

}  // namespace ghostclas
