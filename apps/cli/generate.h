// One sequence that is read and continued: the loop behind `dsa run`.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dsa/engine.h"
#include "dsa/forward.h"
#include "dsa/sampler.h"
#include "dsa/status.h"
#include "dsa/tokenizer.h"

#include "cli/explain.h"

namespace cli {

enum class Finish : uint8_t { kLength, kEndOfText, kStopString, kContextFull, kInterrupted };

// As --json spells it: "length", "eos", "stop", "context", "interrupted".
const char* finish_name(Finish finish);

struct GenerateOptions {
  int64_t max_tokens = 0;
  int64_t context = 0;  // tokens the sequence may reach
  std::vector<std::string> stop;
  std::vector<int32_t> end_ids;  // tokens that end the text
  bool quiet = false;            // no progress bar
};

struct GeneratedText {
  std::vector<int32_t> ids;  // without the end-of-text token
  std::string text;          // as shown, without the stop string
  Finish finish = Finish::kLength;
  int64_t n_prompt = 0;  // tokens of the prompt
  int64_t n_reused = 0;  // of those, the ones the cache already held
  double prefill_seconds = 0;
  double decode_seconds = 0;
  int64_t n_decoded = 0;  // forward passes in decode_seconds
};

// Thread safety   one thread.
class Generator {
 public:
  // explain may be null. engine and tokenizer outlive the generator.
  Generator(dsa::Engine& engine,
            const dsa::Tokenizer& tokenizer,
            dsa::Sampler sampler,
            Explain* explain);

  // Reads the prompt and continues it; `show` gets the text piece by piece, always whole
  // characters. Tokens at the front of the prompt that the sequence holds already are not computed
  // again; a sequence that is not such a front is dropped.
  dsa::Result<GeneratedText> generate(std::span<const int32_t> prompt,
                                      const GenerateOptions& options,
                                      const std::function<void(std::string_view)>& show);

  // The tokens in the cache.
  std::span<const int32_t> held() const { return held_; }

 private:
  dsa::Status prefill(std::span<const int32_t> prompt, bool quiet, GeneratedText& out);
  dsa::Status reuse_or_restart(std::span<const int32_t> prompt);
  dsa::Status decode(const GenerateOptions& options,
                     const std::function<void(std::string_view)>& show,
                     GeneratedText& out);
  dsa::Result<int32_t> sample();
  dsa::Status append(int32_t id);
  dsa::ForwardHooks hooks(int64_t last_position);

  dsa::Engine* engine_;
  const dsa::Tokenizer* tokenizer_;
  dsa::Sampler sampler_;
  Explain* explain_;
  dsa::SequenceId sequence_ = -1;
  std::vector<int32_t> held_;
  std::vector<float> logits_;  // of the successor of held_.back()
};

}  // namespace cli
