#include "dsa/bpe_trainer.h"

#include <simdjson.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/status_macros.h"
#include "tokenizer/bpe_learner.h"
#include "tokenizer/byte_level.h"
#include "tokenizer/chat_tokens.h"
#include "tokenizer/hash_index.h"
#include "tokenizer/pre_tokenizer.h"
#include "tokenizer/utf8.h"

namespace dsa {
namespace {

// Numbers in threes, words with the space before them, runs of punctuation with line ends, line
// ends, spaces.
constexpr const char* kPattern =
    R"(\p{N}{1,3}| ?[\p{L}\p{M}]+| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

struct GivenToken {
  std::string_view text;
  bool special;  // a control token: left out of decoded text on demand
};

constexpr GivenToken kGiven[] = {{chat::kBegin, true},      {chat::kEnd, true},
                                 {"<｜▁pad▁｜>", true},     {chat::kUser, false},
                                 {chat::kAssistant, false}, {chat::kThink, false},
                                 {chat::kEndThink, false},  {chat::kDsml, false}};
constexpr auto kFirstByte = static_cast<int32_t>(std::size(kGiven));
constexpr int32_t kLeastVocab = kFirstByte + 256;
constexpr int32_t kMostVocab = 1 << 20;
constexpr std::size_t kMaxPieceBytes = 256;

// Different pieces and how often each was seen, in the order in which they came.
class PieceCounts {
 public:
  Status add(std::string_view piece) {
    const auto known = index_.find(std::string(piece));
    if (known != index_.end()) {
      ++counts_[known->second];
      return {};
    }
    bytes_ += piece.size();
    if (counts_.size() >= kMost || bytes_ >= kMost) {
      return error(StatusCode::kResourceExhausted,
                   "text: more than 2^31 different pieces or bytes of them");
    }
    index_.emplace(piece, counts_.size());
    counts_.push_back(1);
    return {};
  }

  // In the order of their bytes, which does not depend on the order of the texts.
  std::vector<std::pair<std::string_view, int64_t>> sorted() const {
    std::vector<std::pair<std::string_view, int64_t>> all;
    for (const auto& [piece, i] : index_)
      all.emplace_back(piece, counts_[i]);
    std::sort(all.begin(), all.end());
    return all;
  }

 private:
  static constexpr std::size_t kMost = std::numeric_limits<int32_t>::max();
  struct Hash {
    std::size_t operator()(const std::string& text) const { return hash_bytes(text); }
  };
  std::unordered_map<std::string, std::size_t, Hash> index_;
  std::vector<int64_t> counts_;
  std::size_t bytes_ = 0;
};

nlohmann::ordered_json given_tokens() {
  auto list = nlohmann::ordered_json::array();
  for (const GivenToken& token : kGiven) {
    list.push_back({{"id", list.size()},
                    {"content", token.text},
                    {"single_word", false},
                    {"lstrip", false},
                    {"rstrip", false},
                    {"normalized", false},
                    {"special", token.special}});
  }
  return list;
}

nlohmann::ordered_json byte_level() {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", false},
          {"trim_offsets", true},
          {"use_regex", false}};
}

nlohmann::ordered_json pre_tokenizer() {
  const nlohmann::ordered_json split = {{"type", "Split"},
                                        {"pattern", {{"Regex", kPattern}}},
                                        {"behavior", "Isolated"},
                                        {"invert", false}};
  return {{"type", "Sequence"},
          {"pretokenizers", nlohmann::ordered_json::array({split, byte_level()})}};
}

nlohmann::ordered_json bpe_model(const BpeLearner& learner) {
  auto vocab = nlohmann::ordered_json::object();
  for (int32_t id = 0; id < kFirstByte; ++id)
    vocab.push_back({std::string(kGiven[id].text), id});
  const std::vector<std::string>& texts = learner.texts();
  for (std::size_t i = 0; i < texts.size(); ++i)
    vocab.push_back({spelling_of_bytes(texts[i]), static_cast<std::size_t>(kFirstByte) + i});
  auto merges = nlohmann::ordered_json::array();
  const auto spelled = [&](int32_t id) {
    return spelling_of_bytes(texts[static_cast<std::size_t>(id - kFirstByte)]);
  };
  for (const BpeLearner::Merge& merge : learner.merges())
    merges.push_back(nlohmann::ordered_json::array({spelled(merge.left), spelled(merge.right)}));
  return {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", nullptr},
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix", nullptr},
          {"fuse_unk", false},
          {"byte_fallback", false},
          {"vocab", std::move(vocab)},
          {"merges", std::move(merges)}};
}

std::string file_text(const BpeLearner& learner) {
  const nlohmann::ordered_json file = {
      {"version", "1.0"},           {"truncation", nullptr},
      {"padding", nullptr},         {"added_tokens", given_tokens()},
      {"normalizer", nullptr},      {"pre_tokenizer", pre_tokenizer()},
      {"post_processor", nullptr},  {"decoder", byte_level()},
      {"model", bpe_model(learner)}};
  return file.dump() + "\n";
}

Result<PreTokenizer> make_pre_tokenizer() {
  DSA_ASSIGN_OR_RETURN(Pattern pattern, Pattern::read("pattern", kPattern, false));
  std::vector<PreTokenizerStage> stages;
  stages.emplace_back(SplitStage{std::move(pattern)});
  return PreTokenizer::create(std::move(stages));
}

}  // namespace

struct BpeTrainer::Impl {
  Impl(const BpeTrainerOptions& o, PreTokenizer p) : options(o), pre_tokenizer(std::move(p)) {}

  Status add_well_formed(std::string_view text) {
    scratch.allow_steps_for(text.size());
    return pre_tokenizer.split(text, scratch, [this](std::string_view piece) {
      for (; !piece.empty(); piece.remove_prefix(std::min(piece.size(), kMaxPieceBytes)))
        DSA_RETURN_IF_ERROR(pieces.add(piece.substr(0, kMaxPieceBytes)));
      return Status();
    });
  }

  BpeTrainerOptions options;
  PreTokenizer pre_tokenizer;
  RegexScratch scratch;
  PieceCounts pieces;
};

BpeTrainer::BpeTrainer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
BpeTrainer::BpeTrainer(BpeTrainer&&) noexcept = default;
BpeTrainer& BpeTrainer::operator=(BpeTrainer&&) noexcept = default;
BpeTrainer::~BpeTrainer() = default;

Result<BpeTrainer> BpeTrainer::create(const BpeTrainerOptions& options) {
  if (options.vocab_size < kLeastVocab || options.vocab_size > kMostVocab) {
    return invalid_argument("vocab_size: {}, want {} to {}", options.vocab_size, kLeastVocab,
                            kMostVocab);
  }
  if (options.min_count < 1) {
    return invalid_argument("min_count: {}, want at least 1", options.min_count);
  }
  DSA_ASSIGN_OR_RETURN(PreTokenizer pre_tokenizer, make_pre_tokenizer());
  return BpeTrainer(std::make_unique<Impl>(options, std::move(pre_tokenizer)));
}

Status BpeTrainer::add(std::string_view text) {
  if (simdjson::validate_utf8(text.data(), text.size())) return impl_->add_well_formed(text);
  std::string mended;
  if (append_well_formed(text, mended) < text.size()) mended += kReplacement;
  return impl_->add_well_formed(mended);
}

std::string BpeTrainer::train(const std::function<bool(int64_t, int64_t)>& progress) const {
  std::vector<std::string> refused;
  for (const GivenToken& token : kGiven)
    refused.emplace_back(token.text);
  BpeLearner learner(kFirstByte, std::move(refused));
  for (const auto& [piece, count] : impl_->pieces.sorted())
    learner.add(piece, count);
  learner.learn(impl_->options.vocab_size, impl_->options.min_count, progress);
  return file_text(learner);
}

}  // namespace dsa
