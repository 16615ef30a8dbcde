// The logistic function in plain arithmetic, which the compiler turns into vector instructions.

#pragma once

#include <cstdint>
#include <cstring>

namespace mtln {

// exp(x) for x <= 88, relative error below 2e-7; 0 below -87; NaN for NaN.
//
// exp(x) = 2^n exp(r) with n = round(x / ln 2) and |r| <= ln(2) / 2 (Cody and Waite's reduction in
// two steps), exp(r) by its Taylor polynomial of degree 7.
inline float exponential(float x) {
    const float limited = x < -87.0f ? -87.0f : x;
    // Adding 1.5 * 2^23 rounds to an integer, which is in the low bits then.
    const float shifted = limited * 1.44269504f + 12582912.0f;
    const float n = shifted - 12582912.0f;
    const float r = (limited - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1.0f / 5040;
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    uint32_t bits;
    std::memcpy(&bits, &shifted, sizeof bits);
    bits = (bits << 23) + 0x3f800000u;
    float power;
    std::memcpy(&power, &bits, sizeof power);
    return x < -87.0f ? 0.0f : p * power;
}

struct Logistic {
    float value, complement;
};

// 1 / (1 + exp(-x)), 0 below -88, and 1 minus that, without the loss of digits of a subtraction.
inline Logistic logistic(float x) {
    const float e = exponential(x < -88.0f ? 88.0f : -x);
    const float value = 1.0f / (1.0f + e);
    return {x < -88.0f ? 0.0f : value, e * value};
}

inline float sigmoid(float x) { return logistic(x).value; }

}  // namespace mtln
