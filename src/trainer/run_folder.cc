#include "trainer/run_folder.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>

#include "dsa/safetensors.h"

#include "common/status_macros.h"
#include "formats/float_bits.h"
#include "io/atomic_file.h"
#include "io/atomic_folder.h"
#include "io/mapped_file.h"
#include "io/safetensors.h"
#include "trainer/config_keys.h"

namespace dsa {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

namespace {

constexpr const char* kPrefix = "step-";
constexpr const char* kStateFile = "/training_state.json";
constexpr const char* kOptimizerFile = "/optimizer.safetensors";

std::string name_of_step(int64_t step) {
  return fmt::format("{}{:08}", kPrefix, step);
}

bool is_checkpoint_name(const std::string& name) {
  return name.starts_with(kPrefix) && name.size() == std::strlen(kPrefix) + 8 &&
         name.find_first_not_of("0123456789", std::strlen(kPrefix)) == std::string::npos;
}

// Keys that may change when a run goes on: they do not change its weights.
bool is_free(const std::string& key) {
  return key == "output" || key == "threads" || key.starts_with("checkpoint.") ||
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

bool stored_as_bf16(const Parameter& parameter, const std::string& weights) {
  return weights == "bf16" && parameter.role == ParameterRole::kMatrix;
}

// Trained by gradient or by load: has a value of its own.
bool is_trained(const Parameter& parameter) {
  return parameter.value != nullptr;
}

ElementType element_type(DType type) {
  if (type == DType::kBF16) return ElementType::kBF16;
  return type == DType::kF16 ? ElementType::kF16 : ElementType::kF32;
}

int width(ElementType type) {
  return type == ElementType::kF32 ? 4 : 2;
}

// Wide elements first, so that all are aligned.
void sort_by_width(std::vector<TensorSpec>* specs) {
  std::stable_sort(specs->begin(), specs->end(), [](const TensorSpec& a, const TensorSpec& b) {
    return width(a.type) > width(b.type);
  });
}

Status append_as_bf16(std::span<const float> values,
                      const std::string& name,
                      SafetensorsWriter* writer) {
  std::vector<uint16_t> bits(values.size());
  std::transform(values.begin(), values.end(), bits.begin(), f32_to_bf16);
  return writer->append_bytes(name, std::as_bytes(std::span(bits)));
}

Status read_values(const SafetensorsFile& file, const std::string& name, std::span<float> out) {
  const StoredTensor* const tensor = file.find(name);
  if (tensor == nullptr || tensor->dtype != DType::kF32 ||
      tensor->data.size() != out.size_bytes()) {
    return corruption("{}: tensor \"{}\": {}, want F32 with {} values", file.name(), name,
                      tensor == nullptr ? "absent" : shape_text(tensor->shape), out.size());
  }
  std::memcpy(out.data(), tensor->data.data(), out.size_bytes());
  return {};
}

}  // namespace

std::vector<std::string> RunFolder::checkpoints() const {
  std::vector<std::string> names;
  std::error_code failed;
  for (fs::directory_iterator entry(config_.output, failed);
       !failed && entry != fs::directory_iterator(); entry.increment(failed)) {
    const std::string name = entry->path().filename().string();
    if (is_checkpoint_name(name)) names.push_back(config_.output + "/" + name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::optional<std::string> RunFolder::newest() const {
  const std::vector<std::string> all = checkpoints();
  return all.empty() ? std::nullopt : std::optional(all.back());
}

void RunFolder::clean() const {
  std::error_code failed;
  std::vector<fs::path> left;
  for (fs::directory_iterator entry(config_.output, failed);
       !failed && entry != fs::directory_iterator(); entry.increment(failed)) {
    const std::string name = entry->path().filename().string();
    if (name.starts_with(std::string(".") + kPrefix)) left.push_back(entry->path());
  }
  for (const fs::path& path : left)
    fs::remove_all(path, failed);
}

Result<RunState> RunFolder::load(const std::string& checkpoint,
                                 TrainModel* model,
                                 AdamW* optimizer) const {
  const std::string path = checkpoint + kStateFile;
  DSA_ASSIGN_OR_RETURN(const MappedFile text, MappedFile::open(path));
  const auto* const begin = reinterpret_cast<const char*>(text.bytes().data());
  const auto state = ordered_json::parse(begin, begin + text.bytes().size(), nullptr, false);
  const auto number = [&](const char* key) -> int64_t {
    const auto place = state.is_object() ? state.find(key) : state.end();
    return place != state.end() && place->is_number_integer() ? place->get<int64_t>() : -1;
  };
  RunState run;
  run.step = number("step");
  run.position = {static_cast<uint64_t>(number("epoch")),
                  static_cast<uint64_t>(number("sequence"))};
  if (run.step < 0 || number("epoch") < 0 || number("epoch") > run.step * (int64_t{1} << 20) ||
      number("sequence") < 0 || !state.contains("config") || !state["config"].is_object() ||
      !state.contains("data")) {
    return corruption("{}: no state of a training run", path);
  }
  const ordered_json now = values_of(config_);
  for (const auto& [key, value] : now.items()) {
    const ordered_json before = state["config"].value(key, ordered_json());
    if (before == value) continue;
    return invalid_argument(
        "{}: {} was {} when {} was saved: want the same, or another output folder", key,
        shown(value), shown(before), checkpoint);
  }
  if (state["data"] != fmt::format("{:016x}", start_.tokens->data_checksum())) {
    return invalid_argument("data: other tokens than when {} was saved", checkpoint);
  }
  DSA_ASSIGN_OR_RETURN(const SafetensorsFile file,
                       SafetensorsFile::open(checkpoint + kOptimizerFile));
  for (const Parameter& parameter : model->parameters()) {
    if (!is_trained(parameter)) continue;
    DSA_RETURN_IF_ERROR(
        read_values(file, "value." + parameter.name, {parameter.value, parameter.size}));
  }
  for (AdamW::Slot& slot : optimizer->slots()) {
    DSA_RETURN_IF_ERROR(read_values(file, "mean." + slot.parameter->name, slot.mean));
    DSA_RETURN_IF_ERROR(read_values(file, "square." + slot.parameter->name, slot.square));
  }
  model->weights_changed();
  return run;
}

Status RunFolder::write_model(const std::string& path, const TrainModel& model) const {
  std::vector<TensorSpec> specs;
  for (const Parameter& parameter : model.parameters()) {
    ElementType type = element_type(parameter.dtype);
    if (is_trained(parameter)) {
      type = stored_as_bf16(parameter, config_.checkpoint.weights) ? ElementType::kBF16
                                                                   : ElementType::kF32;
    }
    specs.push_back({parameter.name, type, parameter.shape});
  }
  sort_by_width(&specs);
  DSA_ASSIGN_OR_RETURN(SafetensorsWriter writer,
                       SafetensorsWriter::create(path, specs, {{"format", "pt"}}));
  for (const Parameter& parameter : model.parameters()) {
    const std::span<const float> values(parameter.value,
                                        is_trained(parameter) ? parameter.size : 0);
    if (!is_trained(parameter)) {
      const auto* const bytes = static_cast<const std::byte*>(parameter.data);
      DSA_RETURN_IF_ERROR(writer.append_bytes(
          parameter.name, {bytes, parameter.size * dtype_bytes(parameter.dtype)}));
    } else if (stored_as_bf16(parameter, config_.checkpoint.weights)) {
      DSA_RETURN_IF_ERROR(append_as_bf16(values, parameter.name, &writer));
    } else {
      DSA_RETURN_IF_ERROR(writer.append(parameter.name, values));
    }
  }
  return writer.commit();
}

Status RunFolder::write_optimizer(const std::string& path,
                                  const TrainModel& model,
                                  const AdamW& optimizer) const {
  std::vector<TensorSpec> specs;
  for (const Parameter& parameter : model.parameters()) {
    if (is_trained(parameter)) {
      specs.push_back({"value." + parameter.name, ElementType::kF32, parameter.shape});
    }
  }
  for (const AdamW::Slot& slot : optimizer.slots()) {
    for (const char* const part : {"mean.", "square."})
      specs.push_back({part + slot.parameter->name, ElementType::kF32, slot.parameter->shape});
  }
  DSA_ASSIGN_OR_RETURN(SafetensorsWriter writer, SafetensorsWriter::create(path, specs));
  for (const Parameter& parameter : model.parameters()) {
    if (!is_trained(parameter)) continue;
    DSA_RETURN_IF_ERROR(writer.append("value." + parameter.name,
                                      std::span<const float>(parameter.value, parameter.size)));
  }
  for (const AdamW::Slot& slot : optimizer.slots()) {
    const std::string& name = slot.parameter->name;
    DSA_RETURN_IF_ERROR(writer.append("mean." + name, std::span(slot.mean)));
    DSA_RETURN_IF_ERROR(writer.append("square." + name, std::span(slot.square)));
  }
  return writer.commit();
}

Status RunFolder::write_tokenizer(const std::string& folder) const {
  const auto copy = [&](const std::string& name, const std::string& otherwise) -> Status {
    Result<MappedFile> file = MappedFile::open(start_.tokenizer_dir + "/" + name);
    if (!file.ok()) return otherwise.empty() ? file.status() : write_file(folder + name, otherwise);
    const auto bytes = file->bytes();
    return write_file(folder + name, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  };
  const ModelConfig& model = start_.config;
  const bool begin = model.bos_token_id >= 0;
  ordered_json tokenizer = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                            {"add_bos_token", begin},
                            {"model_max_length", model.max_position}};
  ordered_json generation = {{"do_sample", true}, {"temperature", 0.8}, {"top_p", 0.95}};
  if (begin) {
    tokenizer["bos_token"] = start_.tokenizer->token_text(model.bos_token_id);
    generation["bos_token_id"] = model.bos_token_id;
  }
  if (!model.eos_token_ids.empty()) {
    tokenizer["eos_token"] = start_.tokenizer->token_text(model.eos_token_ids[0]);
    generation["eos_token_id"] = model.eos_token_ids;
  }
  DSA_RETURN_IF_ERROR(copy("tokenizer.json", ""));
  DSA_RETURN_IF_ERROR(copy("tokenizer_config.json", tokenizer.dump(1) + "\n"));
  return copy("generation_config.json", generation.dump(1) + "\n");
}

Result<std::string> RunFolder::save(const RunState& state,
                                    const TrainModel& model,
                                    const AdamW& optimizer) const {
  const std::string path = config_.output + "/" + name_of_step(state.step);
  std::error_code failed;
  if (fs::exists(path, failed)) return path;  // this very step, saved before
  DSA_ASSIGN_OR_RETURN(AtomicFolder folder, AtomicFolder::create(path));
  DSA_RETURN_IF_ERROR(write_model(folder.file("model.safetensors"), model));
  DSA_RETURN_IF_ERROR(write_optimizer(folder.folder() + kOptimizerFile, model, optimizer));
  DSA_RETURN_IF_ERROR(write_tokenizer(folder.folder() + "/"));
  const char* const dtype = config_.checkpoint.weights == "f32" ? "float32" : "bfloat16";
  DSA_RETURN_IF_ERROR(
      write_file(folder.file("config.json"), model_config_json(start_.config, dtype)));
  const ordered_json text = {{"step", state.step},
                             {"epoch", state.position.epoch},
                             {"sequence", state.position.sequence},
                             {"data", fmt::format("{:016x}", start_.tokens->data_checksum())},
                             {"config", values_of(config_)}};
  DSA_RETURN_IF_ERROR(write_file(folder.folder() + kStateFile, text.dump(1) + "\n"));
  DSA_RETURN_IF_ERROR(folder.commit());
  // A link is replaced as a whole by a rename; that it is old at worst does no harm.
  const std::string link = config_.output + "/.step-latest";
  fs::remove(link, failed);
  fs::create_symlink(name_of_step(state.step), link, failed);
  if (!failed) fs::rename(link, config_.output + "/latest", failed);
  remove_old();
  return path;
}

// Under another name first: what is left of a killed removal is no checkpoint.
void RunFolder::remove_old() const {
  std::vector<std::string> all = checkpoints();
  const auto keep = static_cast<size_t>(config_.checkpoint.keep);
  for (size_t i = 0; i + keep < all.size(); ++i) {
    std::error_code failed;
    const fs::path path = all[i];
    const fs::path old = path.parent_path() / fmt::format(".{}.old", path.filename().string());
    fs::rename(path, old, failed);
    if (!failed) fs::remove_all(old, failed);
  }
}

}  // namespace dsa
