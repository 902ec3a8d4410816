// Conversions between f32 and the small formats, against searches through all their codes.
#include "formats/float_bits.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

namespace dsa {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// Every finite magnitude of e4m3, ascending: the code is the index.
const std::vector<double>& e4m3_magnitudes() {
  static const std::vector<double> kValues = [] {
    std::vector<double> values;
    for (int mantissa = 0; mantissa < 8; ++mantissa)
      values.push_back(mantissa / 512.0);
    for (double unit = 1.0 / 512; values.size() < 0x7F; unit *= 2) {
      for (int mantissa = 8; mantissa < 16 && values.size() < 0x7F; ++mantissa)
        values.push_back(mantissa * unit);
    }
    return values;
  }();
  return kValues;
}

// The nearest magnitude; of two as near the one with an even code.
uint8_t nearest_e4m3(double magnitude) {
  uint8_t best = 0;
  for (uint8_t code = 1; code < 0x7F; ++code) {
    const double is = std::fabs(e4m3_magnitudes()[code] - magnitude);
    const double was = std::fabs(e4m3_magnitudes()[best] - magnitude);
    if (is < was || (is == was && code % 2 == 0)) best = code;
  }
  return best;
}

TEST(E4m3, CodesAreTheirValues) {
  EXPECT_EQ(e4m3_magnitudes().back(), 448.0);
  for (int code = 0; code < 0x7F; ++code) {
    const double want = e4m3_magnitudes()[static_cast<size_t>(code)];
    EXPECT_EQ(double{e4m3_to_f32(static_cast<uint8_t>(code))}, want) << code;
    EXPECT_EQ(double{e4m3_to_f32(static_cast<uint8_t>(code | 0x80))}, -want) << code;
  }
  EXPECT_TRUE(std::signbit(e4m3_to_f32(0x80)));
  EXPECT_TRUE(std::isnan(e4m3_to_f32(0x7F)));
  EXPECT_TRUE(std::isnan(e4m3_to_f32(0xFF)));
}

TEST(E4m3, RoundsToTheNearestTiesToEven) {
  std::mt19937 random(1);
  std::vector<double> magnitudes;
  for (size_t code = 0; code + 1 < 0x7F; ++code) {
    const double middle = (e4m3_magnitudes()[code] + e4m3_magnitudes()[code + 1]) / 2;
    magnitudes.insert(magnitudes.end(), {e4m3_magnitudes()[code], middle,
                                         double{std::nextafter(static_cast<float>(middle), 0.0F)},
                                         double{std::nextafter(static_cast<float>(middle), 9e9F)}});
  }
  for (int i = 0; i < 2000; ++i)
    magnitudes.push_back(double{std::ldexp(static_cast<float>(random() % 4096), -15)});
  for (const double magnitude : magnitudes) {
    const auto value = static_cast<float>(magnitude);
    EXPECT_EQ(int{f32_to_e4m3(value)}, int{nearest_e4m3(magnitude)}) << magnitude;
    EXPECT_EQ(int{f32_to_e4m3(-value)}, nearest_e4m3(magnitude) | 0x80) << magnitude;
  }
}

TEST(E4m3, SaturatesAndKeepsNan) {
  for (const float value : {448.0F, 464.0F, 1e6F, kInfinity}) {
    EXPECT_EQ(int{f32_to_e4m3(value)}, 0x7E);
    EXPECT_EQ(int{f32_to_e4m3(-value)}, 0xFE);
  }
  EXPECT_EQ(int{f32_to_e4m3(kNan)}, 0x7F);
  EXPECT_EQ(int{f32_to_e4m3(std::copysign(kNan, -1.0F))}, 0xFF);
}

TEST(Bf16, EveryCodeComesBackAndNanStaysNan) {
  for (uint32_t code = 0; code < 0x10000; ++code) {
    const float value = bf16_to_f32(static_cast<uint16_t>(code));
    const uint16_t back = f32_to_bf16(value);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(bf16_to_f32(back))) << code;
      EXPECT_EQ(back >> 15, static_cast<int>(code >> 15)) << code;
    } else {
      EXPECT_EQ(uint32_t{back}, code);
    }
  }
}

TEST(Bf16, RoundsToTheNearestTiesToEven) {
  EXPECT_EQ(bf16_to_f32(f32_to_bf16(1.0F + 0x1p-8F)), 1.0F);                // a tie: 1 is even
  EXPECT_EQ(bf16_to_f32(f32_to_bf16(1.0F + 3 * 0x1p-8F)), 1.0F + 0x1p-6F);  // a tie: upwards
  EXPECT_EQ(bf16_to_f32(f32_to_bf16(1.0F + 0x1.01p-8F)), 1.0F + 0x1p-7F);
  EXPECT_EQ(bf16_to_f32(f32_to_bf16(std::numeric_limits<float>::max())), kInfinity);
  std::mt19937 random(2);
  for (int i = 0; i < 10000; ++i) {
    const float value = std::bit_cast<float>(static_cast<uint32_t>(random()));
    if (!std::isfinite(value) || std::fabs(value) > 1e38F || std::fabs(value) < 1e-38F) continue;
    const uint16_t code = f32_to_bf16(value);
    const double error = std::fabs(double{bf16_to_f32(code)} - double{value});
    for (const int step : {-1, 1}) {
      const auto other = static_cast<uint16_t>(code + step);
      EXPECT_LE(error, std::fabs(double{bf16_to_f32(other)} - double{value})) << value;
    }
  }
}

TEST(F16, AnchorsAndOrder) {
  EXPECT_EQ(f16_to_f32(0x0001), 0x1p-24F);
  EXPECT_EQ(f16_to_f32(0x0400), 0x1p-14F);
  EXPECT_EQ(f16_to_f32(0x3C00), 1.0F);
  EXPECT_EQ(f16_to_f32(0x7BFF), 65504.0F);
  EXPECT_EQ(f16_to_f32(0xC000), -2.0F);
  EXPECT_EQ(f16_to_f32(0x7C00), kInfinity);
  EXPECT_EQ(f16_to_f32(0xFC00), -kInfinity);
  EXPECT_TRUE(std::isnan(f16_to_f32(0x7E00)));
  EXPECT_TRUE(std::signbit(f16_to_f32(0x8000)));
  for (uint16_t code = 1; code < 0x7C00; ++code) {
    // Codes of one exponent are equally spaced.
    const float step = std::ldexp(1.0F, std::max(code >> 10, 1) - 25);
    const bool first = (code & 0x3FFU) == 0 && code > 0x400;
    EXPECT_EQ(f16_to_f32(code) - f16_to_f32(static_cast<uint16_t>(code - 1)),
              first ? step / 2 : step)
        << code;
  }
}

}  // namespace
}  // namespace dsa
