// Which checkpoints the chat encoding is for.
#include "dsa/chat.h"
#include "dsa/tokenizer.h"

#include "common/status_macros.h"
#include "tokenizer/chat_tokens.h"

namespace dsa {
namespace {

// Tokens that begin a turn in vocabularies of other families: GLM, ChatML, Llama, Gemma, Mistral.
constexpr std::string_view kForeignTurns[] = {"<|user|>",        "[gMASK]", "<|im_start|>",
                                              "<start_of_turn>", "[INST]",  "<|start_header_id|>"};

constexpr std::string_view kWayOut =
    "only DeepSeek-V3.2's chat encoding is known; a prompt in the model's own format can be "
    "completed as plain text";

}  // namespace

Status check_chat_encoding(std::string_view model_type, const Tokenizer& tokenizer) {
  if (model_type != "deepseek_v32") {
    return unsupported("model_type: \"{}\", want \"deepseek_v32\" for a chat: {}", model_type,
                       kWayOut);
  }
  if (tokenizer.token_id(chat::kUser)) return Status();
  for (const std::string_view foreign : kForeignTurns) {
    if (!tokenizer.token_id(foreign)) continue;
    return unsupported("tokenizer: has {} and not {}, want DeepSeek-V3.2's tokens for a chat: {}",
                       foreign, chat::kUser, kWayOut);
  }
  return Status();
}

}  // namespace dsa
