// What submit() refuses.
#pragma once

#include <cstdint>

#include "dsa/scheduler.h"

namespace dsa::scheduler {

//   Errors  kInvalidArgument: the field, what it was, what was wanted.
Status check_request(const GenerateRequest& request, int64_t vocab_size, int64_t max_context);

}  // namespace dsa::scheduler
