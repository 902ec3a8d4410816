// Any bytes as a tokenizer.json must end in a Status; a file that opens must round-trip.
//
// The input is a tokenizer.json, a zero byte and a text to encode; a built-in tokenizer encodes the
// text as well. Without a zero byte all of the input is text.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "dsa/tokenizer.h"

namespace {

// How byte-level BPE spells a byte.
std::string spell(int byte) {
  const auto printable = [](int b) { return (b > 32 && b < 127) || (b > 160 && b != 173); };
  int code = byte;
  if (!printable(byte)) {
    code = 256;
    for (int b = 0; b < byte; ++b)
      code += printable(b) ? 0 : 1;
  }
  if (code < 128) return std::string(1, static_cast<char>(code));
  return {static_cast<char>(0xC0 | (code >> 6)), static_cast<char>(0x80 | (code & 0x3F))};
}

std::string built_in_json() {
  std::string vocab;
  for (int byte = 0; byte < 256; ++byte) {
    const bool escaped = byte == '"' || byte == '\\';
    vocab +=
        '"' + (escaped ? "\\" : std::string()) + spell(byte) + "\":" + std::to_string(byte) + ',';
  }
  return R"({"added_tokens":[{"id":259,"content":"<s>","special":true},{"id":260,"content":"<s"}],
    "pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false},"decoder":{"type":"ByteLevel"},
    "model":{"type":"BPE","merges":["a a","aa aa",["a","b"]],"vocab":{)" +
         vocab + R"("aa":256,"aaaa":257,"ab":258}}})";
}

void stream(const dsa::Tokenizer& tokenizer, const std::vector<int32_t>& ids) {
  dsa::StreamDecoder decoder(tokenizer);
  for (const int32_t id : ids) {
    if (!decoder.push(id).ok()) std::abort();
  }
  decoder.flush();
  if (!decoder.flush().empty()) std::abort();
}

// Splits may remove text and add spaces, so only the built-in tokenizer must give the text back.
void encode_and_decode(const dsa::Tokenizer& tokenizer, std::string_view text, bool lossless) {
  for (const bool special_tokens : {true, false}) {
    const auto ids = tokenizer.encode(text, special_tokens);
    if (!ids.ok()) {
      if (lossless) std::abort();
      continue;
    }
    const auto back = tokenizer.decode(*ids);
    if (!back.ok() || (lossless && *back != text)) std::abort();
    stream(tokenizer, *ids);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto built_in = dsa::Tokenizer::parse(built_in_json());
  if (!built_in.ok()) std::abort();
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t zero = input.find('\0');
  encode_and_decode(*built_in, input.substr(zero == std::string_view::npos ? 0 : zero + 1), true);
  if (zero == std::string_view::npos) return 0;

  const auto tokenizer = dsa::Tokenizer::parse(input.substr(0, zero));
  if (!tokenizer.ok()) {
    if (tokenizer.status().message().empty()) std::abort();
    return 0;
  }
  if (tokenizer->vocab_size() <= 0) std::abort();
  for (int32_t id = 0; id < tokenizer->vocab_size(); ++id) {
    if (!tokenizer->decode({&id, 1}).ok()) std::abort();
  }
  encode_and_decode(*tokenizer, input.substr(zero + 1), false);
  return 0;
}
