// SHA-256 of FIPS 180-4, by OpenSSL where it was found at build time: half of a cold start is this, in plain C++.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace ghostclas {

class Sha256 {
public:
    Sha256();
    ~Sha256();
    Sha256(const Sha256&) = delete;
    Sha256& operator=(const Sha256&) = delete;

    void update(const void* data, std::size_t size);

    // The digest as 64 hexadecimal digits. Nothing may be added afterwards.
    std::string hex();

private:
    struct State;
    std::unique_ptr<State> state_;
};

std::string sha256_of(const void* data, std::size_t size);

}  // namespace ghostclas
