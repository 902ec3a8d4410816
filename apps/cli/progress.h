// How far a long computation is, on standard error: a bar on a terminal; in a log one line per
// 10 %, and none when the whole takes a few seconds.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace cli {

class Progress {
 public:
  // label: what is going on, e.g. "reading prompt"; counts tokens.
  Progress(std::string label, int64_t n_total, bool quiet);
  ~Progress();  // removes the bar
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void update(int64_t n_done);
  double seconds() const;  // since construction

 private:
  using Clock = std::chrono::steady_clock;

  std::string line(int64_t n_done) const;
  void draw_bar(int64_t n_done);
  void log_line(int64_t n_done);

  std::string label_;
  int64_t n_total_;
  bool quiet_;
  bool terminal_;
  bool drawn_ = false;
  int64_t logged_tenths_ = 0;
  Clock::time_point start_ = Clock::now();
  Clock::time_point last_ = start_;
};

}  // namespace cli
