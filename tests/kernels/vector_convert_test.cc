// Conversions between f32 and the small formats: exact, so compared with formats/float_bits.h.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "formats/float_bits.h"
#include "tests/kernels/guarded_buffer.h"
#include "tests/kernels/tiers.h"
#include "tests/kernels/vector_cases.h"

namespace dsa::kernels {
namespace {

class VectorConvert : public TierTest {
 protected:
  static const VectorKernels& vector() { return *kernels().vector; }
};

constexpr float kMax = std::numeric_limits<float>::max();
constexpr float kInf = std::numeric_limits<float>::infinity();

uint32_t bits_of(float x) {
  return std::bit_cast<uint32_t>(x);
}

// Every upper half with lower halves around the ties.
Input<float> floats_of_every_kind() {
  const uint32_t lower[] = {0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF};
  Input<float> all(65536 * std::size(lower), 1);
  size_t at = 0;
  for (uint32_t upper = 0; upper < 65536; ++upper) {
    for (const uint32_t low : lower)
      all[at++] = std::bit_cast<float>(upper << 16 | low);
  }
  return all;
}

TEST_P(VectorConvert, Bf16RoundsToNearestEvenForEveryKindOfValue) {
  const auto x = floats_of_every_kind();
  GuardedBuffer<uint16_t> out(x.size(), 1);
  vector().f32_to_bf16(x.data(), x.size(), out.data());
  for (size_t i = 0; i < x.size(); ++i)
    ASSERT_EQ(out[i], f32_to_bf16(x[i])) << std::hex << bits_of(x[i]);
  EXPECT_TRUE(out.guards_intact());
}

TEST_P(VectorConvert, HalfPrecisionCodesWidenExactly) {
  Input<uint16_t> codes(65536, 1);
  for (size_t i = 0; i < codes.size(); ++i)
    codes[i] = static_cast<uint16_t>(i);
  GuardedBuffer<float> bf16(codes.size(), 1);
  GuardedBuffer<float> f16(codes.size(), 1);
  vector().bf16_to_f32(codes.data(), codes.size(), bf16.data());
  vector().f16_to_f32(codes.data(), codes.size(), f16.data());
  for (size_t i = 0; i < codes.size(); ++i) {
    ASSERT_EQ(bits_of(bf16[i]), bits_of(bf16_to_f32(codes[i]))) << std::hex << i;
    const float want = f16_to_f32(codes[i]);
    if (std::isnan(want)) {
      ASSERT_TRUE(std::isnan(f16[i])) << std::hex << i;
    } else {
      ASSERT_EQ(bits_of(f16[i]), bits_of(want)) << std::hex << i;
    }
  }
  EXPECT_TRUE(bf16.guards_intact() && f16.guards_intact());
}

TEST_P(VectorConvert, TakesEveryLength) {
  for (const size_t n : row_lengths()) {
    const auto x = normal_row(n, 31);
    GuardedBuffer<uint16_t> rounded(n, n % 7);
    GuardedBuffer<float> widened(n, n % 5);
    vector().f32_to_bf16(x.data(), n, rounded.data());
    const Input<uint16_t> codes(std::vector<uint16_t>(rounded.data(), rounded.data() + n));
    vector().bf16_to_f32(codes.data(), n, widened.data());
    for (size_t i = 0; i < n; ++i)
      ASSERT_EQ(widened[i], bf16_to_f32(f32_to_bf16(x[i])));
    ASSERT_TRUE(rounded.guards_intact() && widened.guards_intact()) << n;

    GuardedBuffer<float> halves(n, n % 3);
    vector().f16_to_f32(codes.data(), n, halves.data());
    for (size_t i = 0; i < n; ++i)
      ASSERT_EQ(halves[i], f16_to_f32(codes[i]));
    ASSERT_TRUE(halves.guards_intact()) << n;
  }
}

// The smallest power of two that brings amax within e4m3's range.
float want_scale(double amax) {
  double scale = 0x1p-126;
  while (std::max(amax, double{1e-4F}) > 448 * scale)
    scale *= 2;
  return static_cast<float>(scale);
}

TEST_P(VectorConvert, E4m3ScaleIsTheSmallestPowerOfTwoThatHoldsTheGroup) {
  std::vector<float> amaxes = {0.0F, 1e-4F, 1e-5F, 1e-45F, 1.0F, 447.0F, kMax};
  for (int e = -22; e <= 118; ++e) {
    const float boundary = std::ldexp(448.0F, e);
    amaxes.insert(amaxes.end(),
                  {boundary, std::nextafter(boundary, kInf), std::nextafter(boundary, 0.0F)});
  }
  for (const float amax : amaxes) {
    for (const float sign : {1.0F, -1.0F}) {
      const std::vector<float> x = {0.0F, amax * sign, amax / 3};
      std::vector<uint8_t> codes(x.size());
      const float scale = vector().quantize_e4m3(x.data(), x.size(), codes.data());
      ASSERT_EQ(scale, want_scale(double{amax})) << amax;
      for (size_t i = 0; i < x.size(); ++i)
        ASSERT_EQ(codes[i], f32_to_e4m3(x[i] / scale)) << amax << " element " << i;
    }
  }
}

TEST_P(VectorConvert, E4m3CodesRoundToNearestEvenForEveryKindOfValue) {
  auto x = floats_of_every_kind();
  for (size_t i = 0; i < x.size(); ++i) {
    if (std::abs(x[i]) > 448) x[i] = 448;  // the scale is 1
  }
  GuardedBuffer<uint8_t> codes(x.size(), 1);
  ASSERT_EQ(vector().quantize_e4m3(x.data(), x.size(), codes.data()), 1.0F);
  for (size_t i = 0; i < x.size(); ++i)
    ASSERT_EQ(codes[i], f32_to_e4m3(x[i])) << std::hex << bits_of(x[i]);
  EXPECT_TRUE(codes.guards_intact());
}

TEST_P(VectorConvert, E4m3TakesEveryLength) {
  for (const size_t n : row_lengths()) {
    const auto x = normal_row(n, 32);
    GuardedBuffer<uint8_t> codes(n, n % 7);
    const float scale = vector().quantize_e4m3(x.data(), n, codes.data());
    double amax = 0;
    for (size_t i = 0; i < n; ++i)
      amax = std::max(amax, std::abs(double{x[i]}));
    ASSERT_EQ(scale, want_scale(amax)) << n;
    for (size_t i = 0; i < n; ++i)
      ASSERT_EQ(codes[i], f32_to_e4m3(x[i] / scale)) << n;
    ASSERT_TRUE(codes.guards_intact()) << n;
  }
}

TEST_P(VectorConvert, E4m3NanKeepsTheScaleAndInfinitySaturates) {
  std::vector<float> x(20, 100.0F);
  std::vector<uint8_t> codes(x.size());
  const float scale = vector().quantize_e4m3(x.data(), x.size(), codes.data());
  const std::vector<uint8_t> clean = codes;
  x[18] = -std::nanf("");
  EXPECT_EQ(vector().quantize_e4m3(x.data(), x.size(), codes.data()), scale);
  EXPECT_EQ(codes[18], 0xFF);
  codes[18] = clean[18];
  EXPECT_EQ(codes, clean);

  x[18] = -kInf;  // counts as the largest f32
  EXPECT_EQ(vector().quantize_e4m3(x.data(), x.size(), codes.data()), want_scale(double{kMax}));
  EXPECT_EQ(codes[18], 0xFE);
  EXPECT_EQ(codes[0], 0);

  const std::vector<float> nans(7, std::nanf(""));
  EXPECT_EQ(vector().quantize_e4m3(nans.data(), nans.size(), codes.data()), want_scale(0));
  EXPECT_EQ(codes[6] & 0x7F, 0x7F);
}

TEST_P(VectorConvert, E4m3CodesWidenExactlyTimesTheScale) {
  for (const size_t n : {256UL, 255UL, 9UL, 1UL, 0UL}) {
    Input<uint8_t> codes(n, 3);
    for (size_t i = 0; i < n; ++i)
      codes[i] = static_cast<uint8_t>(i);
    for (const float scale : {1.0F, 0x1p-13F, 0.3F}) {
      GuardedBuffer<float> out(n, 1);
      vector().dequantize_e4m3(codes.data(), n, scale, out.data());
      for (size_t i = 0; i < n; ++i) {
        const float want = e4m3_to_f32(codes[i]) * scale;
        if (std::isnan(want)) {
          ASSERT_TRUE(std::isnan(out[i])) << i;
        } else {
          ASSERT_EQ(bits_of(out[i]), bits_of(want)) << i;
        }
      }
      ASSERT_TRUE(out.guards_intact()) << n;
    }
  }
}

DSA_INSTANTIATE_TIERS(VectorConvert);

}  // namespace
}  // namespace dsa::kernels
