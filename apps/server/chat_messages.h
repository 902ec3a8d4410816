// The messages of a chat request.
#pragma once

#include "server/fields.h"
#include "server/json.h"

namespace server {

// Field `messages` as dsa::parse_messages reads it: parts of content joined, developer messages as
// system messages, a message to continue marked. A failure is left in `fields`.
Json read_messages(Fields& fields);

}  // namespace server
