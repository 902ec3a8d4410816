// Constrained decoding: which tokens may come next so that the whole text follows a grammar.
//
//   auto tokens = dsa::GrammarTokens::create(tokenizer, end_ids);
//   auto grammar = dsa::Grammar::json_schema(R"({"type":"object","properties":{...}})");
//   dsa::GrammarMatcher matcher(*grammar, tokens);
//   matcher.mask(logits);          // what cannot come next becomes -inf
//   matcher.accept(sampled_id);
//
// The grammar works byte by byte, so a token may end anywhere inside a string, a number or a
// character; the text is valid UTF-8 once the grammar has ended.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dsa/status.h"
#include "dsa/tokenizer.h"

#pragma GCC visibility push(default)

namespace dsa {

// Threads  immutable: shared by any number of matchers.
class Grammar {
 public:
  // Any JSON object. Numbers have at most 15 digits on either side of the point and exponents at
  // most two, so that every parser can hold them; values nest at most about 60 levels deep; white
  // space is one space, or a line break and up to 32 spaces, where JSON allows it next to brackets
  // and after a comma or colon.
  static Grammar json_object();

  // JSON that the schema (drafts 4 to 2020-12) accepts, with the limits above.
  //   Read     type (one or several), enum, const, nullable; properties, required,
  //            additionalProperties, patternProperties (one pattern), propertyNames, minProperties,
  //            maxProperties; items, prefixItems, additionalItems, minItems, maxItems, uniqueItems
  //            (of listed values); minimum, maximum, exclusiveMinimum, exclusiveMaximum,
  //            multipleOf; minLength, maxLength, pattern (a part of ECMA-262), format; anyOf, oneOf
  //            (read like anyOf), allOf, $ref to any place of the document, also recursive; true
  //            and false
  //   Ignored  every keyword that JSON schema does not have, and formats that only describe
  //   Narrower than the schema   properties come in the order of the schema; without
  //            additionalProperties an object that lists properties has no others; names that are
  //            not listed, and strings with a pattern or format, are written without needless
  //            escapes; numbers with bounds without exponents
  // Errors   kInvalidArgument: not JSON, a keyword of the wrong type, or no value can fit;
  //          kUnsupported: not, if, contains, dependencies and what is bounded above; more than
  //          16,384 rules, a pattern of too many states. Names the keyword by its path, e.g.
  //          `$.properties.name.pattern`
  static Result<Grammar> json_schema(std::string_view schema_json);

  // One block of DeepSeek-V3.2 tool calls (dsa/chat.h), as a model writes it to call tools.
  //   tools_json   array [{"type":"function","function":{"name":...,"parameters":{schema}}}]
  //   name         the one tool to call; "" any of them
  //   max_calls    0: any number, at least one call either way
  // Errors   those of json_schema; kNotFound: no such tool
  static Result<Grammar> tool_calls(std::string_view tools_json,
                                    std::string_view name,
                                    int64_t max_calls);

  // Reasoning, the end of reasoning, then this grammar.
  Grammar after_reasoning() const;

  struct Rules;
  const Rules& rules() const { return *rules_; }

 private:
  explicit Grammar(std::shared_ptr<const Rules> rules) : rules_(std::move(rules)) {}
  std::shared_ptr<const Rules> rules_;
};

// The tokens of a tokenizer in the order of their bytes. Special tokens are left out, except those
// that the encoding of tool calls and reasoning is made of.
// Threads  immutable.
class GrammarTokens {
 public:
  // end_ids: the tokens that end a text; allowed where the grammar may end.
  static std::shared_ptr<const GrammarTokens> create(const Tokenizer& tokenizer,
                                                     std::span<const int32_t> end_ids);

  struct Entry {
    std::string bytes;
    int32_t id = 0;
    uint32_t n_shared = 0;  // leading bytes that the entry before has too
  };
  std::span<const Entry> entries() const { return entries_; }
  std::span<const int32_t> end_ids() const { return end_ids_; }
  // The bytes of an id; empty when no grammar can use it.
  std::string_view bytes(int32_t id) const;
  bool is_end(int32_t id) const;

 private:
  std::vector<Entry> entries_;
  std::vector<int32_t> entry_of_;  // by id; -1: none
  std::vector<int32_t> end_ids_;
};

// The state of one text within its grammar.
// Threads  one at a time.
class GrammarMatcher {
 public:
  GrammarMatcher(const Grammar& grammar, std::shared_ptr<const GrammarTokens> tokens);
  ~GrammarMatcher();
  GrammarMatcher(GrammarMatcher&&) noexcept;
  GrammarMatcher& operator=(GrammarMatcher&&) noexcept;

  // Sets the logits [vocab] of the tokens that cannot come next to -inf.
  // Cost     one walk over the tokens whose prefixes fit; cached for states that recur.
  // Errors   kResourceExhausted: no token can come next, or the grammar is so ambiguous that the
  //          text has too many parses
  Status mask(std::span<float> logits);

  // Advances by a token that mask() allowed; an end token changes nothing.
  // Errors   kInvalidArgument: the token cannot come here; nothing has changed
  Status accept(int32_t id);

  // True where the text may end.
  bool may_end() const;
  // True where only the end may follow.
  bool must_end();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dsa

#pragma GCC visibility pop
