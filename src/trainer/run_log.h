// log.jsonl of a run: one JSON object a line.
#pragma once

#include <cstdint>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "dsa/status.h"

namespace dsa::trainer {

class RunLog {
 public:
  // Opens the file to go on after `step`: later lines, and a last one that is not whole, go.
  //   Errors  kIoError
  static Result<RunLog> open(const std::string& path, int64_t step);

  // Numbers that are not finite become null.   Errors  kIoError
  Status write(const nlohmann::ordered_json& line);

 private:
  explicit RunLog(std::string path) : path_(std::move(path)), out_(path_, std::ios::app) {}

  std::string path_;
  std::ofstream out_;
};

}  // namespace dsa::trainer
