#include "trainer/run_state.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "common/status_macros.h"
#include "io/mapped_file.h"
#include "trainer/config_keys.h"

namespace dsa::trainer {

using nlohmann::ordered_json;

namespace {

// Keys that may change when a run goes on: they do not change its weights. Places of files may;
// contents are compared.
bool is_free(const std::string& key) {
  return key == "output" || key == "threads" || key == "init" || key.starts_with("checkpoint.") ||
         key.starts_with("evaluate.") || key.starts_with("data.text") || key == "data.tokens";
}

ordered_json values_of(const TrainConfig& config) {
  TrainConfig copy = config;
  ordered_json out = ordered_json::object();
  for (const ConfigKey& key : config_keys(&copy)) {
    if (is_free(key.name)) continue;
    std::visit([&](const auto* value) { out[key.name] = *value; }, key.target);
  }
  return out;
}

std::string shown(const ordered_json& value) {
  return value.dump(-1, ' ', false, ordered_json::error_handler_t::replace).substr(0, 80);
}

std::string data_checksum(const RunStart& start) {
  return fmt::format("{:016x}", start.tokens->data_checksum());
}

int64_t number(const ordered_json& state, const char* key) {
  const auto place = state.is_object() ? state.find(key) : state.end();
  return place != state.end() && place->is_number_integer() ? place->get<int64_t>() : -1;
}

Status check_origin(const ordered_json& state,
                    const std::string& checkpoint,
                    const TrainConfig& config,
                    const RunStart& start) {
  const ordered_json now = values_of(config);
  for (const auto& [key, value] : now.items()) {
    const ordered_json before = state["config"].value(key, ordered_json());
    if (before == value) continue;
    return invalid_argument(
        "{}: {} was {} when {} was saved: want the same, or another output folder", key,
        shown(value), shown(before), checkpoint);
  }
  if (state["data"] != data_checksum(start)) {
    return invalid_argument("data: other tokens than when {} was saved", checkpoint);
  }
  if (state["init"] != start.init_checksum) {
    return invalid_argument(
        "init: \"{}\" holds another model than when {} was saved: want the same, or another output "
        "folder",
        config.init, checkpoint);
  }
  return {};
}

}  // namespace

std::string checkpoint_name(int64_t step) {
  return fmt::format("step-{:08}", step);
}

std::string run_state_text(const RunState& state,
                           const TrainConfig& config,
                           const RunStart& start) {
  const ordered_json text = {{"step", state.step},
                             {"epoch", state.position.epoch},
                             {"sequence", state.position.sequence},
                             {"data", data_checksum(start)},
                             {"init", start.init_checksum},
                             {"config", values_of(config)}};
  return text.dump(1) + "\n";
}

Result<RunState> read_run_state(const std::string& checkpoint,
                                const TrainConfig& config,
                                const RunStart& start) {
  const std::string path = checkpoint + kStateFile;
  DSA_ASSIGN_OR_RETURN(const MappedFile text, MappedFile::open(path));
  const auto* const begin = reinterpret_cast<const char*>(text.bytes().data());
  const auto state = ordered_json::parse(begin, begin + text.bytes().size(), nullptr, false);
  const int64_t step = number(state, "step");
  const int64_t epoch = number(state, "epoch");
  const int64_t sequence = number(state, "sequence");
  if (step < 0 || epoch < 0 || sequence < 0 || !state.contains("config") ||
      !state["config"].is_object() || !state.contains("data") || !state.contains("init")) {
    return corruption("{}: no state of a training run", path);
  }
  const std::string name = std::filesystem::path(checkpoint).filename().string();
  if (checkpoint_name(step) != name) {
    return corruption("{}: step {}, want that of {}", path, step, name);
  }
  DSA_RETURN_IF_ERROR(check_origin(state, checkpoint, config, start));
  if (step > config.optimizer.steps || epoch > step * (int64_t{1} << 20)) {
    return corruption("{}: step {} in epoch {}, want at most step {}", path, step, epoch,
                      config.optimizer.steps);
  }
  return RunState{step, {static_cast<uint64_t>(epoch), static_cast<uint64_t>(sequence)}};
}

}  // namespace dsa::trainer
