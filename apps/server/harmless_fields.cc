#include "server/harmless_fields.h"

#include <fmt/format.h>

#include <vector>

namespace server {
namespace {

struct HarmlessField {
  const char* name;
  const char* values;  // JSON, an array: those that change nothing; null: any value
  const char* reason;
};

constexpr const char* kBookkeeping = "bookkeeping of a service with accounts";
constexpr const char* kWorkings = "how the answer is computed, not what it is";
constexpr const char* kLoading = "how a server loads a model; this one has loaded it";
constexpr const char* kNoShift = "what stays when a context is full; nothing is dropped here";
constexpr const char* kSampler = "a sampler that there is not";
constexpr const char* kTuning = "tunes a sampler whose own field leaves it off";
constexpr const char* kForm = "another form of the answer";

constexpr HarmlessField kHarmless[] = {
    // OpenAI's API
    {"user", nullptr, kBookkeeping},
    {"metadata", nullptr, kBookkeeping},
    {"store", nullptr, kBookkeeping},
    {"service_tier", nullptr, kBookkeeping},
    {"safety_identifier", nullptr, kBookkeeping},
    {"prompt_cache_key", nullptr, kWorkings},
    {"prompt_cache_retention", nullptr, kWorkings},
    {"prediction", nullptr, kWorkings},
    {"modalities", R"([["text"]])", "answers are text"},
    {"verbosity", R"(["medium"])", "the model is not told"},
    {"suffix", R"([""])", "the model does not fill gaps"},
    // vLLM, SGLang
    {"request_id", nullptr, kBookkeeping},
    {"priority", nullptr, kWorkings},
    {"spaces_between_special_tokens", nullptr, "of tokenizers that join words"},
    {"early_stopping", nullptr, kTuning},
    {"length_penalty", nullptr, kTuning},
    {"use_beam_search", "[false]", kSampler},
    {"bad_words", "[[]]", kSampler},
    {"skip_special_tokens", "[true]", kForm},
    {"include_stop_str_in_output", "[false]", kForm},
    {"return_token_ids", "[false]", kForm},
    {"return_tokens_as_token_ids", "[false]", kForm},
    {"include_reasoning", "[true]", kForm},
    {"separate_reasoning", "[true]", kForm},
    // llama.cpp, Ollama, LM Studio
    {"cache_prompt", nullptr, kWorkings},
    {"id_slot", nullptr, kWorkings},
    {"n_cache_reuse", nullptr, kWorkings},
    {"keep_alive", nullptr, kLoading},
    {"ttl", nullptr, kLoading},
    {"num_ctx", nullptr, kLoading},
    {"num_batch", nullptr, kLoading},
    {"num_thread", nullptr, kLoading},
    {"num_gpu", nullptr, kLoading},
    {"main_gpu", nullptr, kLoading},
    {"low_vram", nullptr, kLoading},
    {"use_mmap", nullptr, kLoading},
    {"use_mlock", nullptr, kLoading},
    {"numa", nullptr, kLoading},
    {"num_keep", nullptr, kNoShift},
    {"n_keep", nullptr, kNoShift},
    {"n_discard", nullptr, kNoShift},
    {"mirostat", "[0]", kSampler},
    {"mirostat_tau", nullptr, kTuning},
    {"mirostat_eta", nullptr, kTuning},
    {"tfs_z", "[1]", kSampler},
    {"typical_p", "[1]", kSampler},
    {"top_n_sigma", "[-1]", kSampler},
    {"xtc_probability", "[0]", kSampler},
    {"xtc_threshold", nullptr, kTuning},
    {"dynatemp_range", "[0]", kSampler},
    {"dynatemp_exponent", nullptr, kTuning},
    {"dry_multiplier", "[0]", kSampler},
    {"dry_base", nullptr, kTuning},
    {"dry_allowed_length", nullptr, kTuning},
    {"dry_penalty_last_n", nullptr, kTuning},
    {"dry_sequence_breakers", nullptr, kTuning},
    {"penalize_nl", "[false]", kSampler},
    {"n_probs", "[0]", kForm},
    {"post_sampling_probs", "[false]", kForm},
    {"timings_per_token", "[false]", kForm},
    {"return_tokens", "[false]", kForm},
    {"return_progress", "[false]", kForm},
};

}  // namespace

void read_harmless(Fields& fields) {
  for (const HarmlessField& field : kHarmless) {
    if (field.values == nullptr) {
      fields.ignore(field.name);
      continue;
    }
    if (fields.find(field.name) == nullptr) continue;
    const auto values = Json::parse(field.values).get<std::vector<Json>>();
    fields.accept_only(field.name, values,
                       fmt::format("{}; want {}", field.reason, values[0].dump()));
  }
}

}  // namespace server
