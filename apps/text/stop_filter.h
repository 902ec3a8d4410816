// Passes a stream of text through up to the first stop string, and holds back what may turn out to
// be the beginning of one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace text {

class StopFilter {
 public:
  explicit StopFilter(std::vector<std::string> stops);  // empty ones are ignored

  // The text that can be shown now.
  std::string push(std::string_view text);

  // What was held back, when the stream ends without a stop string.
  std::string flush();

  // True once a stop string was met; it and all after it are gone.
  bool stopped() const { return stopped_; }

 private:
  size_t held_length() const;  // of the longest end of held_ that begins a stop string

  std::vector<std::string> stops_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace text
