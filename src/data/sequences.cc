#include "data/sequences.h"

#include <algorithm>
#include <utility>

#include "common/random.h"
#include "common/status_macros.h"

namespace dsa {
namespace {

uint64_t mixed(uint64_t a, uint64_t b) {
  return OrderRandom(a ^ (b * 0x9E3779B97F4A7C15U)).next();
}

}  // namespace

uint64_t OrderRandom::next() {
  return next_random(&state_);
}

Result<DataSplit> split_documents(const TokenFile& tokens, double fraction, uint64_t seed) {
  if (!(fraction >= 0 && fraction <= 0.5)) {
    return invalid_argument("held-out fraction: {}, want 0 to 0.5", fraction);
  }
  const uint64_t n = tokens.n_documents();
  if (fraction > 0 && n < 2) {
    return invalid_argument("{} document: nothing is left to train on when it is held out", n);
  }
  std::vector<std::pair<uint64_t, uint64_t>> drawn;  // rank, document
  for (uint64_t i = 0; i < n; ++i)
    drawn.emplace_back(mixed(tokens.document(i).hash, seed), i);
  std::sort(drawn.begin(), drawn.end());
  const double wanted = fraction * static_cast<double>(tokens.n_tokens());
  DataSplit split;
  double held = 0;
  for (const auto& [rank, i] : drawn) {
    const TokenFile::Document document = tokens.document(i);
    const auto size = static_cast<double>(document.end - document.begin);
    const bool hold = held < wanted && size <= 2 * wanted && split.held_out.size() + 1 < n;
    (hold ? split.held_out : split.train).push_back(i);
    if (hold) held += size;
  }
  if (fraction > 0 && split.held_out.empty()) {  // all are large: the smallest
    const auto size = [&](uint64_t i) { return tokens.document(i).end - tokens.document(i).begin; };
    const auto least = std::min_element(split.train.begin(), split.train.end(),
                                        [&](uint64_t a, uint64_t b) { return size(a) < size(b); });
    split.held_out.push_back(*least);
    split.train.erase(least);
  }
  std::sort(split.train.begin(), split.train.end());
  std::sort(split.held_out.begin(), split.held_out.end());
  return split;
}

Result<SequenceOrder> SequenceOrder::create(const TokenFile& tokens,
                                            std::vector<uint64_t> documents,
                                            uint64_t context,
                                            uint64_t seed) {
  if (context < 1) return invalid_argument("context: 0, want at least 1");
  SequenceOrder order(tokens, std::move(documents), context, seed);
  order.plan(0);
  if (order.starts_.empty()) {
    return invalid_argument("{} documents: none has two tokens to train on",
                            order.documents_.size());
  }
  return order;
}

void SequenceOrder::plan(uint64_t epoch) {
  position_ = {epoch, 0};
  segments_.clear();
  starts_.clear();
  OrderRandom random(mixed(seed_, epoch + 1));
  std::vector<Segment> pieces;
  for (const uint64_t i : documents_) {
    const TokenFile::Document document = tokens_->document(i);
    uint64_t at = document.begin;
    const uint64_t last = document.end - 1;  // has nothing to predict
    if (last - at > context_) {
      if (const uint64_t head = random.below(context_); head > 0) {
        pieces.push_back({at, head});
        at += head;
      }
    }
    for (; last - at >= context_; at += context_) {
      starts_.push_back({segments_.size(), 1});
      segments_.push_back({at, context_});
    }
    if (at < last) pieces.push_back({at, last - at});
  }
  random.shuffle(&pieces);
  uint64_t room = 0;
  for (Segment piece : pieces) {
    while (piece.size > 0) {
      if (room == 0) {
        starts_.push_back({segments_.size(), 0});
        room = context_;
      }
      const uint64_t size = std::min(room, piece.size);
      segments_.push_back({piece.begin, size});
      ++starts_.back().count;
      room -= size;
      piece = {piece.begin + size, piece.size - size};
    }
  }
  random.shuffle(&starts_);
}

std::span<const Segment> SequenceOrder::next() {
  if (position_.sequence == starts_.size()) plan(position_.epoch + 1);
  const Sequence& sequence = starts_[position_.sequence++];
  return std::span(segments_).subspan(sequence.first, sequence.count);
}

Status SequenceOrder::seek(Position position) {
  plan(position.epoch);
  if (position.sequence > starts_.size()) {
    return invalid_argument("sequence {} of epoch {}, want at most {}", position.sequence,
                            position.epoch, starts_.size());
  }
  position_ = position;
  return {};
}

}  // namespace dsa
