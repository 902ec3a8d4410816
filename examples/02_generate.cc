// Continues a text.
//   example_02_generate [MODEL_DIR [PROMPT [N_TOKENS]]]
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "dsa/engine.h"
#include "dsa/forward.h"
#include "dsa/model.h"
#include "dsa/sampler.h"
#include "dsa/tokenizer.h"

#include "check.h"

int main(int argc, char** argv) {
  const std::string dir = argc > 1 ? argv[1] : "models/dsa-13m";
  const std::string prompt = argc > 2 ? argv[2] : "Gen1:1 In the beginning God created";
  const int n_tokens = argc > 3 ? std::atoi(argv[3]) : 32;

  const auto model = check(dsa::Model::open(dir));
  const dsa::Tokenizer tokenizer = check(dsa::Tokenizer::open(dir));
  dsa::Sampler sampler =
      check(dsa::Sampler::create({.temperature = 0.8F, .top_p = 0.95F, .seed = 1}));
  const auto engine = check(dsa::Engine::create(model, {.cache_tokens = 4096}));
  const dsa::SequenceId sequence = check(engine->create_sequence());

  int32_t next = -1;
  dsa::ForwardHooks hooks;
  hooks.logits = [&](const dsa::LogitsRow& row) { next = check(sampler.sample(row.logits)); };
  check(engine->prefill(sequence, check(tokenizer.encode(prompt)), hooks));

  std::printf("%s", prompt.c_str());
  dsa::StreamDecoder text(tokenizer);
  const std::vector<int32_t>& ends = model->config().eos_token_ids;
  for (int i = 0; i < n_tokens && std::find(ends.begin(), ends.end(), next) == ends.end(); ++i) {
    std::printf("%s", check(text.push(next)).c_str());
    next = check(sampler.sample(check(engine->decode(sequence, next))));
  }
  std::printf("%s\n", text.flush().c_str());
  return 0;
}
