// Fields that clients send to any server, and that do not change an answer of this one.
#pragma once

#include "server/fields.h"

namespace server {

// Reads them. Some do not change an answer at a certain value only; at another they are refused.
void read_harmless(Fields& fields);

}  // namespace server
