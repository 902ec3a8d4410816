#include "dsa/grammar.h"

#include <algorithm>
#include <limits>
#include <map>
#include <utility>

#include "common/status_macros.h"
#include "grammar/automaton.h"
#include "grammar/rules.h"
#include "grammar/schema.h"
#include "tokenizer/chat_tokens.h"
#include "tokenizer/python_json.h"

namespace dsa {
namespace {

using grammar::Automaton;
using grammar::kDead;
using grammar::Rule;
using grammar::RuleBuilder;
using grammar::RuleId;
using grammar::RuleKind;
using grammar::StateId;

constexpr float kForbidden = -std::numeric_limits<float>::infinity();

}  // namespace

Grammar Grammar::json_object() {
  RuleBuilder builder;
  const RuleId root = builder.any_object();
  return Grammar(std::make_shared<const Rules>(builder.take(root)));
}

Result<Grammar> Grammar::json_schema(std::string_view schema_json) {
  DSA_ASSIGN_OR_RETURN(const JsonValue schema, parse_json(schema_json));
  RuleBuilder builder;
  DSA_ASSIGN_OR_RETURN(const RuleId root, grammar::schema_rule(schema, "$", builder));
  return Grammar(std::make_shared<const Rules>(builder.take(root)));
}

Grammar Grammar::after_reasoning() const {
  auto rules = std::make_shared<Rules>(*rules_);
  Rule reasoning;
  reasoning.kind = RuleKind::kRaw;
  reasoning.text = chat::kEndThink;
  rules->rules.push_back(std::move(reasoning));
  Rule both;
  both.kind = RuleKind::kSequence;
  both.children = {static_cast<RuleId>(rules->rules.size() - 1), rules->root};
  rules->rules.push_back(std::move(both));
  rules->root = static_cast<RuleId>(rules->rules.size() - 1);
  return Grammar(std::move(rules));
}

std::shared_ptr<const GrammarTokens> GrammarTokens::create(const Tokenizer& tokenizer,
                                                           std::span<const int32_t> end_ids) {
  auto tokens = std::make_shared<GrammarTokens>();
  tokens->end_ids_.assign(end_ids.begin(), end_ids.end());
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    const std::string_view bytes = tokenizer.token_text(id);
    const bool of_encoding = bytes == chat::kDsml || bytes == chat::kEndThink;
    if (bytes.empty() || tokens->is_end(id) || (tokenizer.is_special(id) && !of_encoding)) continue;
    tokens->entries_.push_back({std::string(bytes), id, 0});
  }
  std::vector<Entry>& entries = tokens->entries_;
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return a.bytes != b.bytes ? a.bytes < b.bytes : a.id < b.id;
  });
  tokens->entry_of_.assign(static_cast<size_t>(tokenizer.vocab_size()), -1);
  for (size_t i = 0; i < entries.size(); ++i) {
    tokens->entry_of_[static_cast<size_t>(entries[i].id)] = static_cast<int32_t>(i);
    if (i == 0) continue;
    const std::string& a = entries[i - 1].bytes;
    const std::string& b = entries[i].bytes;
    const auto differ = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
    entries[i].n_shared = static_cast<uint32_t>(differ.first - a.begin());
  }
  return tokens;
}

std::string_view GrammarTokens::bytes(int32_t id) const {
  if (id < 0 || static_cast<size_t>(id) >= entry_of_.size()) return {};
  const int32_t entry = entry_of_[static_cast<size_t>(id)];
  return entry < 0 ? std::string_view()
                   : std::string_view(entries_[static_cast<size_t>(entry)].bytes);
}

bool GrammarTokens::is_end(int32_t id) const {
  return std::find(end_ids_.begin(), end_ids_.end(), id) != end_ids_.end();
}

struct GrammarMatcher::Impl {
  using Allowed = std::shared_ptr<const std::vector<int32_t>>;
  static constexpr size_t kMaxKept = 64;

  Impl(const Grammar& grammar_, std::shared_ptr<const GrammarTokens> tokens_)
      : grammar(grammar_), tokens(std::move(tokens_)), automaton(grammar.rules()) {
    state = automaton.start();
  }

  Allowed allowed();
  std::vector<int32_t> walk();

  Grammar grammar;
  std::shared_ptr<const GrammarTokens> tokens;
  Automaton automaton;
  StateId state = kDead;
  std::map<StateId, Allowed> kept;
};

// The ids that fit, from what was found before or a walk.
GrammarMatcher::Impl::Allowed GrammarMatcher::Impl::allowed() {
  const int64_t generation = automaton.generation();
  state = automaton.compact(state);
  if (automaton.generation() != generation || kept.size() > kMaxKept) kept.clear();
  if (const auto found = kept.find(state); found != kept.end()) return found->second;
  auto fresh = std::make_shared<const std::vector<int32_t>>(walk());
  kept[state] = fresh;
  return fresh;
}

// Entries are sorted, so those that share a beginning follow one another: its states are kept on a
// path, and where it does not fit, all of them are passed over.
std::vector<int32_t> GrammarMatcher::Impl::walk() {
  std::vector<int32_t> ids;
  std::vector<StateId> path = {state};  // path[n]: after n bytes of the entry
  const auto entries = tokens->entries();
  size_t refused = std::numeric_limits<size_t>::max();  // length of the beginning that failed
  for (const GrammarTokens::Entry& entry : entries) {
    if (entry.n_shared >= refused) continue;
    refused = std::numeric_limits<size_t>::max();
    path.resize(std::min(path.size(), size_t{entry.n_shared} + 1));
    for (size_t i = path.size() - 1; i < entry.bytes.size(); ++i) {
      const StateId next = automaton.step(path.back(), static_cast<uint8_t>(entry.bytes[i]));
      if (next == kDead) {
        refused = i + 1;
        break;
      }
      path.push_back(next);
    }
    if (refused > entry.bytes.size()) ids.push_back(entry.id);
  }
  if (automaton.may_end(state)) {
    ids.insert(ids.end(), tokens->end_ids().begin(), tokens->end_ids().end());
  }
  return ids;
}

GrammarMatcher::GrammarMatcher(const Grammar& grammar, std::shared_ptr<const GrammarTokens> tokens)
    : impl_(std::make_unique<Impl>(grammar, std::move(tokens))) {}
GrammarMatcher::~GrammarMatcher() = default;
GrammarMatcher::GrammarMatcher(GrammarMatcher&&) noexcept = default;
GrammarMatcher& GrammarMatcher::operator=(GrammarMatcher&&) noexcept = default;

Status GrammarMatcher::mask(std::span<float> logits) {
  const Impl::Allowed allowed = impl_->allowed();
  std::vector<std::pair<size_t, float>> kept;
  kept.reserve(allowed->size());
  for (const int32_t id : *allowed) {
    const auto i = static_cast<size_t>(id);
    if (i < logits.size() && logits[i] > kForbidden) kept.emplace_back(i, logits[i]);
  }
  std::fill(logits.begin(), logits.end(), kForbidden);
  for (const auto& [i, logit] : kept)
    logits[i] = logit;
  if (!kept.empty()) return Status();
  return error(StatusCode::kResourceExhausted, "grammar: {}",
               impl_->automaton.overflowed() ? "too ambiguous, too many readings are open"
                                             : "no token of the vocabulary can come next");
}

Status GrammarMatcher::accept(int32_t id) {
  if (impl_->tokens->is_end(id) && may_end()) return Status();
  const std::string_view bytes = impl_->tokens->bytes(id);
  StateId state = bytes.empty() ? kDead : impl_->state;
  for (const char byte : bytes)
    state = impl_->automaton.step(state, static_cast<uint8_t>(byte));
  if (state == kDead) return invalid_argument("token {}: does not fit the grammar here", id);
  impl_->state = state;
  return Status();
}

bool GrammarMatcher::may_end() const {
  return impl_->automaton.may_end(impl_->state);
}

bool GrammarMatcher::must_end() {
  return impl_->automaton.must_end(impl_->state);
}

}  // namespace dsa
