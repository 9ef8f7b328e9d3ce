// The C API while memory runs out: each function fails with a status, whichever allocation is denied.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <cstdlib>
#include <new>
#include <string>

#include "ghostclas/ghostclas.h"

namespace {

// How many allocations are granted; negative: all.
thread_local long granted = -1;

void* allocate(std::size_t size) {
    if (granted == 0) throw std::bad_alloc();
    if (granted > 0) --granted;
    if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
    throw std::bad_alloc();
}

}  // namespace

void* operator new(std::size_t size) { return allocate(size); }
void* operator new[](std::size_t size) { return allocate(size); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }

namespace {

struct Outcome {
    int status;
    std::string code;
    std::string message;
};

// With so many allocations for the call; what it says is copied afterwards.
Outcome verified(const char* bundle, long allocations) {
    ghostclas_error* error = nullptr;
    granted = allocations;
    const int status = ghostclas_verify(bundle, &error);
    granted = -1;
    Outcome outcome{status, "", ""};
    if (status != 0) outcome = {status, ghostclas_error_code(error), ghostclas_error_message(error)};
    ghostclas_free_error(error);
    return outcome;
}

}  // namespace

TEST_CASE("a refusal for which there is no memory is a refusal") {
    const char* bundle = "a bundle that is nowhere on this machine, with a name that takes memory of its own";
    const Outcome refused = verified(bundle, -1);
    CHECK(refused.status == 4);
    CHECK(refused.code == "bundle");
    bool is_told = false;
    for (long allocations = 0; !is_told; ++allocations) {
        REQUIRE(allocations < 10000);
        const Outcome outcome = verified(bundle, allocations);
        is_told = outcome.status == refused.status;
        if (is_told) {
            CHECK(outcome.message == refused.message);
        } else {
            REQUIRE(outcome.status == 1);
            REQUIRE(outcome.code == "memory");
            REQUIRE(outcome.message == "there is not enough memory");
        }
    }
}
