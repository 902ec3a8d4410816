// A program outside the project that uses the whole library: a tokenizer that is not there is an
// error with words, and a sampler samples.
#include <cstdio>
#include <vector>

#include "dsa/ops.h"
#include "dsa/sampler.h"
#include "dsa/tokenizer.h"

int main() {
  const auto tokenizer = dsa::Tokenizer::open("/nowhere");
  if (tokenizer.ok() || tokenizer.status().message().empty()) return 1;
  std::printf("%s\n", tokenizer.status().message().c_str());
  auto sampler = dsa::Sampler::create({.temperature = 0});
  if (!sampler.ok()) return 1;
  const std::vector<float> logits = {0.5F, 3.0F, -1.0F};
  const auto token = sampler->sample(logits);
  if (!token.ok() || *token != 1) return 1;
  if (dsa::latent_row_bytes(dsa::CacheFormat::kFp8, 512, 64) != 656) return 1;
  std::puts("the installed library samples correctly");
  return 0;
}
