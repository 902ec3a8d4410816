#include "text/stop_filter.h"

#include <algorithm>
#include <utility>

namespace text {

StopFilter::StopFilter(std::vector<std::string> stops) : stops_(std::move(stops)) {
  stops_.erase(std::remove(stops_.begin(), stops_.end(), std::string()), stops_.end());
}

std::string StopFilter::push(std::string_view text) {
  if (stopped_) return "";
  held_ += text;
  size_t end = std::string::npos;
  for (const std::string& stop : stops_)
    end = std::min(end, held_.find(stop));
  stopped_ = end != std::string::npos;
  if (!stopped_) end = held_.size() - held_length();
  std::string shown = held_.substr(0, end);
  held_.erase(0, stopped_ ? held_.size() : end);
  return shown;
}

std::string StopFilter::flush() {
  return std::exchange(held_, "");
}

size_t StopFilter::held_length() const {
  size_t longest = 0;
  for (const std::string& stop : stops_) {
    for (size_t n = std::min(held_.size(), stop.size() - 1); n > longest; --n) {
      if (std::string_view(held_).substr(held_.size() - n) == std::string_view(stop).substr(0, n)) {
        longest = n;
      }
    }
  }
  return longest;
}

}  // namespace text
