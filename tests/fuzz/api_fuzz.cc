// Any text as the body of a completion or chat request: refused with an error that can be sent, or
// a request within its limits.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "server/api_request.h"

namespace {

void check(bool promise) {
  if (!promise) std::abort();
}

const server::ModelInfo& model() {
  static const server::ModelInfo kModel = [] {
    server::ModelInfo info;
    info.name = "baby";
    auto tokenizer = dsa::Tokenizer::open(DSA_SOURCE_DIR "/tests/checkpoints/baby-v32");
    check(tokenizer.ok());
    info.tokenizer = std::make_shared<const dsa::Tokenizer>(std::move(*tokenizer));
    info.vocab_size = 2048;
    info.max_context = 1024;
    return info;
  }();
  return kModel;
}

void check_read(const server::ApiRequestOr& read) {
  if (const auto* error = std::get_if<server::ApiError>(&read)) {
    check(error->status >= 400 && error->status < 500 && !error->message.empty());
    check(server::parse_json(server::error_json(*error)).ok());
    return;
  }
  const auto& request = std::get<server::ApiRequest>(read);
  check(!request.prompts.empty());
  check(static_cast<int64_t>(request.prompts.size()) * request.n <= 16);
  for (const auto& prompt : request.prompts)
    check(!prompt.empty() && prompt.size() < 1024);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto json = server::parse_json({reinterpret_cast<const char*>(data), size});
  if (!json.ok()) {
    check(json.status().message().size() < 1000);
    return 0;
  }
  check_read(server::read_completion_request(*json, model(), {}));
  check_read(server::read_chat_request(*json, model(), {}));
  return 0;
}
