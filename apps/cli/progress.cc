#include "cli/progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "cli/io.h"
#include "cli/text.h"

namespace cli {
namespace {

constexpr int64_t kBarWidth = 24;
constexpr std::chrono::milliseconds kRedraw(100);
constexpr std::chrono::seconds kBetweenLogLines(5);

std::string bar(int64_t n_done, int64_t n_total) {
  const int64_t filled = n_total > 0 ? kBarWidth * n_done / n_total : kBarWidth;
  std::string text(static_cast<size_t>(filled), '=');
  if (filled < kBarWidth) text += '>';
  text.resize(static_cast<size_t>(kBarWidth), ' ');
  return text;
}

}  // namespace

Progress::Progress(std::string label, int64_t n_total, bool quiet)
    : label_(std::move(label)), n_total_(n_total), quiet_(quiet), terminal_(stderr_is_terminal()) {}

Progress::~Progress() {
  if (drawn_) std::fputs("\r\x1b[K", stderr);
}

double Progress::seconds() const {
  return std::chrono::duration<double>(Clock::now() - start_).count();
}

void Progress::update(int64_t n_done) {
  if (quiet_) return;
  if (terminal_) {
    draw_bar(n_done);
  } else {
    log_line(n_done);
  }
}

std::string Progress::line(int64_t n_done) const {
  const double elapsed = seconds();
  std::string text = fmt::format("{} / {} tokens  {} tokens/s", group_digits(n_done),
                                 group_digits(n_total_), format_rate(n_done, elapsed));
  if (n_done > 0 && n_done < n_total_) {
    const double left =
        elapsed * static_cast<double>(n_total_ - n_done) / static_cast<double>(n_done);
    text += "  " + format_seconds(left) + " left";
  }
  return text;
}

void Progress::draw_bar(int64_t n_done) {
  const auto now = Clock::now();
  if (drawn_ && now - last_ < kRedraw) return;
  last_ = now;
  drawn_ = true;
  fmt::print(stderr, "\r{} [{}] {}\x1b[K", label_, bar(n_done, n_total_), line(n_done));
  std::fflush(stderr);
}

void Progress::log_line(int64_t n_done) {
  const int64_t tenths = n_total_ > 0 ? 10 * n_done / n_total_ : 10;
  const auto now = Clock::now();
  if (tenths <= logged_tenths_ || now - last_ < kBetweenLogLines) return;
  logged_tenths_ = tenths;
  last_ = now;
  note(fmt::format("{}: {} %  {}", label_, 10 * tenths, line(n_done)));
}

}  // namespace cli
