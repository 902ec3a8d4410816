// What the bytes of a page depend on besides its tokens.
#pragma once

#include <string>

#include "dsa/engine.h"
#include "dsa/model.h"

#include "cache/page_key.h"

namespace dsa::scheduler {

// One line for people: library, kernels, caches, attention, checkpoint. Two engines with the same
// line compute the same pages, bit for bit.
std::string describe_pages(const Model& model,
                           const EngineOptions& options,
                           const std::string& tier);

// The key before the first page's.
PageKey root_key(const std::string& description);

// The root of what requests with this salt share; the root itself for none.
PageKey salted_key(const PageKey& root, const std::string& salt);

}  // namespace dsa::scheduler
