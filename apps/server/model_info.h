// What the server knows of its model, apart from the engine.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "dsa/grammar.h"
#include "dsa/sampler.h"
#include "dsa/status.h"
#include "dsa/tokenizer.h"

namespace server {

// Threads  immutable once the server runs.
struct ModelInfo {
  std::string name;                  // in answers
  std::vector<std::string> aliases;  // other names that requests may give
  int64_t created = 0;               // seconds since 1970
  std::shared_ptr<const dsa::Tokenizer> tokenizer;
  dsa::Status chat;             // why this model gets no conversations; ok where it does
  std::vector<int32_t> prefix;  // before a plain prompt
  std::vector<int32_t> end_ids;
  dsa::SamplerOptions sampling;  // where a request says nothing
  std::shared_ptr<const dsa::GrammarTokens> grammar_tokens;
  int64_t vocab_size = 0;
  int64_t max_context = 0;
  int64_t n_layers = 0;

  bool is_called(const std::string& wanted) const {
    return wanted == name || std::find(aliases.begin(), aliases.end(), wanted) != aliases.end();
  }
  // "a" or "b": for messages.
  std::string listed_names() const {
    std::string list;
    for (const std::string& alias : aliases)
      list.append(" or \"").append(alias).append("\"");
    return std::string("\"").append(name).append("\"").append(list);
  }
};

// Bounds of one request.
struct ApiLimits {
  int64_t max_prompt_tokens = 0;  // 0: what the context allows
  int64_t max_choices = 16;       // prompts times n
  int64_t request_seconds = 600;  // 0: no bound
  int64_t max_stop_strings = 16;
};

}  // namespace server
