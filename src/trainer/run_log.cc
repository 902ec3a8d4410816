#include "trainer/run_log.h"

#include <sstream>

#include "common/status_macros.h"
#include "io/atomic_file.h"

namespace dsa::trainer {
namespace {

bool belongs_before(const std::string& text, int64_t step) {
  const auto line = nlohmann::json::parse(text, nullptr, false);
  if (!line.is_object()) return false;
  const auto place = line.find("step");
  return place == line.end() || !place->is_number_integer() || place->get<int64_t>() <= step;
}

}  // namespace

Result<RunLog> RunLog::open(const std::string& path, int64_t step) {
  std::string kept;
  size_t n_bytes = 0;
  std::ifstream in(path, std::ios::binary);
  for (std::string line; step > 0 && std::getline(in, line);) {
    n_bytes += line.size() + 1;
    if (!in.eof() && belongs_before(line, step)) kept += line + "\n";
  }
  in.close();
  if (kept.size() != n_bytes || step == 0) DSA_RETURN_IF_ERROR(write_file(path, kept));
  RunLog log(path);
  if (!log.out_.good()) return error(StatusCode::kIoError, "{}: cannot open", path);
  return log;
}

Status RunLog::write(const nlohmann::ordered_json& line) {
  out_ << line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) << '\n';
  out_.flush();
  if (out_.good()) return {};
  return error(StatusCode::kIoError, "{}: cannot write", path_);
}

}  // namespace dsa::trainer
