// The 16-bit floating types that travel between ranks, as their bits.
//
// In integers and without branches, so that it needs no instruction set beyond that of the loop
// around it. Numbers are rounded to the nearest, ties to even; infinities and NaN come through.

#pragma once

#include <cstdint>
#include <cstring>

namespace mtln {

inline uint32_t bits_of(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}

inline float float_of(uint32_t bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

constexpr uint32_t MAGNITUDE = 0x7fffffff, INFINITE = 0x7f800000;

// The upper half of a float32: its range, and 8 bits of its mantissa.
struct BFloat16 {
    static uint16_t encode(float value) {
        const uint32_t bits = bits_of(value);
        const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
        // Rounding a NaN could carry into its exponent, cutting it could leave an infinity.
        const uint32_t nan = (bits >> 16) | 0x40;
        return static_cast<uint16_t>((bits & MAGNITUDE) > INFINITE ? nan : rounded);
    }

    static float decode(uint16_t half) { return float_of(static_cast<uint32_t>(half) << 16); }
};

// IEEE 754 binary16: largest number 65504, smallest 2^-24.
struct Float16 {
    static uint16_t encode(float value) {
        const uint32_t bits = bits_of(value), magnitude = bits & MAGNITUDE;
        // Exponent minus 112, and the mantissa rounded from 23 bits to 10.
        uint32_t half = (magnitude - (112u << 23) + 0xfff + ((magnitude >> 13) & 1)) >> 13;
        // Below 2^-14 its numbers are multiples of 2^-24, as floats from 0.5 to 1 are.
        const uint32_t small = bits_of(float_of(magnitude) + 0.5f) - bits_of(0.5f);
        half = magnitude < bits_of(0x1p-14f) ? small : half;
        half = magnitude >= bits_of(65520.0f) ? 0x7c00 : half;
        half = magnitude > INFINITE ? 0x7e00 : half;
        return static_cast<uint16_t>(half | ((bits >> 16) & 0x8000));
    }

    static float decode(uint16_t half) {
        const uint32_t sign = (half & 0x8000u) << 16, magnitude = half & 0x7fffu;
        const uint32_t normal = (magnitude << 13) + (112u << 23);
        const float units = static_cast<float>(static_cast<int32_t>(magnitude));
        const uint32_t small = bits_of(units * 0x1p-24f);
        uint32_t bits = magnitude < 0x400 ? small : normal;
        bits = magnitude >= 0x7c00 ? normal + (112u << 23) : bits;
        return float_of(bits | sign);
    }
};

}  // namespace mtln
