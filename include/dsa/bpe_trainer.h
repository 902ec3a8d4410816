// BpeTrainer: learns a byte-level BPE from text and writes it as a Hugging Face tokenizer.json that
// Tokenizer reads.
//
// Ids      0, 1, 2        begin of sentence, end of sentence, padding (special)
//          3 .. 7         control tokens of the chat encoding (dsa/chat.h): user, assistant,
//                         <think>, </think> and the mark of tool calls
//          8 .. 263       the bytes, in ascending order
//          264 ..         merges, in the order in which they were learned
// Merges   each merge is the most frequent pair of neighbouring tokens, counted within the pieces
//          of the pre-tokenizer that is written into the file. Ties go to the lower left id, then
//          to the lower right id, so the same texts give the same file, in any order and cut
//          anywhere between two pieces.
// Threads  one at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "dsa/status.h"

#pragma GCC visibility push(default)

namespace dsa {

struct BpeTrainerOptions {
  int32_t vocab_size = 4096;  // ids in all, [264, 1 << 20]
  int64_t min_count = 2;      // >= 1; a pair seen less often is not merged
};

class BpeTrainer {
 public:
  // Errors   kInvalidArgument: an option out of its range; names it
  static Result<BpeTrainer> create(const BpeTrainerOptions& options);

  BpeTrainer(BpeTrainer&&) noexcept;
  BpeTrainer& operator=(BpeTrainer&&) noexcept;
  ~BpeTrainer();

  // Counts the pieces of one document. Bytes that are not UTF-8 count as U+FFFD; a piece of more
  // than 256 bytes counts as several.
  // Errors   kResourceExhausted: more than 2^31 different pieces or bytes of them
  Status add(std::string_view text);

  // Returns the text of the file. It has fewer ids than vocab_size when no pair is left that was
  // seen min_count times. progress(ids, wanted) is called now and then; when it returns false,
  // learning ends early and the text has the merges learned so far.
  std::string train(const std::function<bool(int64_t, int64_t)>& progress = nullptr) const;

 private:
  struct Impl;
  explicit BpeTrainer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace dsa

#pragma GCC visibility pop
