#include "tokenizer/alphabet.h"

#include <algorithm>
#include <map>
#include <utility>

#include "tokenizer/utf8.h"

namespace dsa {
namespace {

constexpr uint32_t kAscii = 0x80;
constexpr std::size_t kMaxKinds = 128;

// Where one of the sets begins or ends, from U+0080 on.
std::vector<uint32_t> borders(std::span<const CodePointSet> sets) {
  std::vector<uint32_t> starts = {kAscii};
  for (const CodePointSet& set : sets) {
    for (const CodePointRange& range : set.ranges()) {
      if (range.first > kAscii) starts.push_back(range.first);
      if (range.last >= kAscii && range.last < kLastCodePoint) starts.push_back(range.last + 1);
    }
  }
  std::sort(starts.begin(), starts.end());
  starts.erase(std::unique(starts.begin(), starts.end()), starts.end());
  return starts;
}

}  // namespace

// Each set divides the kinds into those inside and those outside of it.
std::optional<Alphabet> Alphabet::of(std::span<const CodePointSet> sets) {
  const std::vector<uint32_t> starts = borders(sets);
  std::vector<uint8_t> kinds(starts.size(), 0);
  for (const CodePointSet& set : sets) {
    std::array<std::size_t, 2 * kMaxKinds> renamed{};  // 2 * kind + inside -> new kind + 1
    std::size_t n_kinds = 0;
    auto range = set.ranges().begin();
    for (std::size_t i = 0; i < starts.size(); ++i) {
      while (range != set.ranges().end() && range->last < starts[i])
        ++range;
      const bool inside = range != set.ranges().end() && range->first <= starts[i];
      std::size_t& name = renamed[2 * std::size_t{kinds[i]} + (inside ? 1 : 0)];
      if (name == 0) name = ++n_kinds;
      if (name > kMaxKinds) return std::nullopt;
      kinds[i] = static_cast<uint8_t>(name - 1);
    }
  }
  Alphabet alphabet;
  alphabet.starts_ = starts;
  alphabet.kinds_ = std::move(kinds);
  alphabet.fill();
  return alphabet;
}

// An interval between borders lies in a set as a whole or not at all.
Alphabet::Symbols Alphabet::symbols_of(const CodePointSet& set) const {
  Symbols symbols;
  for (uint32_t code = 0; code < kAscii; ++code)
    symbols.set(code, set.contains(code));
  auto range = set.ranges().begin();
  for (std::size_t i = 0; i < starts_.size(); ++i) {
    while (range != set.ranges().end() && range->last < starts_[i])
      ++range;
    if (range == set.ranges().end()) break;
    if (range->first <= starts_[i]) symbols.set(kAscii + std::size_t{kinds_[i]});
  }
  return symbols;
}

void Alphabet::fill() {
  index_.reserve((kLastCodePoint + 1) >> kBlockBits);
  index_.push_back(0);
  blocks_.emplace_back();  // ASCII, which is never looked up here
  for (uint32_t i = 0; i < kBlock; ++i)
    blocks_[0][i] = static_cast<char>(i);
  std::map<Block, uint16_t> known;
  std::size_t interval = 0;
  Block block{};
  uint32_t same_until = 0;  // the block in hand holds for all that begin before this
  for (uint32_t first = kAscii; first <= kLastCodePoint; first += kBlock) {
    if (first + kBlock <= same_until) {
      index_.push_back(index_.back());
      continue;
    }
    for (uint32_t i = 0; i < kBlock; ++i) {
      while (interval + 1 < starts_.size() && starts_[interval + 1] <= first + i)
        ++interval;
      block[i] = static_cast<char>(kAscii + kinds_[interval]);
    }
    const bool uniform = starts_[interval] <= first;
    const uint32_t end = interval + 1 < starts_.size() ? starts_[interval + 1] : kLastCodePoint + 1;
    same_until = uniform ? end : 0;
    const auto [entry, fresh] = known.emplace(block, static_cast<uint16_t>(blocks_.size()));
    if (fresh) blocks_.push_back(block);
    index_.push_back(entry->second);
  }
}

SymbolText::SymbolText(const Alphabet& alphabet, std::string_view text)
    : text_(text), plain_(is_ascii(text)) {
  if (plain_) return;
  symbols_.resize(text.size());
  bytes_.resize(text.size() + 1);
  n_ = alphabet.symbols_of(text, symbols_.data(), bytes_.data());
  bytes_[n_] = static_cast<uint32_t>(text.size());
}

std::size_t Alphabet::symbols_of(std::string_view text, char* symbols, uint32_t* bytes) const {
  char* out = symbols;
  const auto byte = [&](std::size_t i) {
    return static_cast<uint32_t>(static_cast<uint8_t>(text[i]));
  };
  for (std::size_t i = 0; i < text.size();) {
    const uint32_t lead = byte(i);
    *bytes++ = static_cast<uint32_t>(i);
    if (lead < kAscii) {
      *out++ = text[i++];
      continue;
    }
    uint32_t code = 0;
    if (lead < 0xE0) {
      code = (lead & 0x1F) << 6 | (byte(i + 1) & 0x3F);
      i += 2;
    } else if (lead < 0xF0) {
      code = (lead & 0x0F) << 12 | (byte(i + 1) & 0x3F) << 6 | (byte(i + 2) & 0x3F);
      i += 3;
    } else {
      code = (lead & 0x07) << 18 | (byte(i + 1) & 0x3F) << 12 | (byte(i + 2) & 0x3F) << 6 |
             (byte(i + 3) & 0x3F);
      i += 4;
    }
    *out++ = static_cast<char>(symbol(code));
  }
  return static_cast<std::size_t>(out - symbols);
}

}  // namespace dsa
