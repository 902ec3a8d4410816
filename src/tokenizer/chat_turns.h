// The messages of a conversation in the order in which the chat encoding writes them.
#pragma once

#include <span>
#include <vector>

#include "dsa/chat.h"

namespace dsa::chat {

struct ChatTurn {
  std::size_t message = 0;  // its index
  bool first_result = false;
  bool last_result = false;        // of the results of one message's calls
  std::vector<std::size_t> notes;  // system messages that are written into this turn
};

// Results of tools follow their calls in the order of the calls, paired by id where there are ids.
// A system message behind a user message or among results belongs to that turn: the encoding has
// the assistant begin to speak right behind it, and what came next would be the assistant's words.
// Errors   kInvalidArgument: a result that answers no call, or a call without a result beside
//          others that have one
Result<std::vector<ChatTurn>> arrange_turns(std::span<const ChatMessage> messages);

}  // namespace dsa::chat
