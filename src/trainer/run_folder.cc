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
#include "io/element_type.h"
#include "io/mapped_file.h"
#include "io/safetensors.h"

namespace dsa::trainer {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

namespace {

constexpr const char* kPrefix = "step-";
constexpr const char* kOptimizerFile = "/optimizer.safetensors";

bool is_checkpoint_name(const std::string& name) {
  return name.starts_with(kPrefix) && name.size() == std::strlen(kPrefix) + 8 &&
         name.find_first_not_of("0123456789", std::strlen(kPrefix)) == std::string::npos;
}

bool stored_as_bf16(const backprop::Parameter& parameter, const std::string& weights) {
  return weights == "bf16" && parameter.role == backprop::ParameterRole::kMatrix;
}

// Trained by gradient or by load: has a value of its own.
bool is_trained(const backprop::Parameter& parameter) {
  return parameter.value != nullptr;
}

size_t width(ElementType type) {
  return dtype_bytes(dtype_of(type));
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
    const bool half_file = (name.starts_with("tokens.bin.") || name.starts_with("log.jsonl.")) &&
                           name.ends_with(".tmp");
    if (half_file || name.starts_with(std::string(".") + kPrefix)) left.push_back(entry->path());
  }
  for (const fs::path& path : left)
    fs::remove_all(path, failed);
}

Result<RunState> RunFolder::load(const std::string& checkpoint,
                                 backprop::TrainModel* model,
                                 AdamW* optimizer) const {
  DSA_ASSIGN_OR_RETURN(const RunState run, read_run_state(checkpoint, config_, start_));
  DSA_ASSIGN_OR_RETURN(const SafetensorsFile file,
                       SafetensorsFile::open(checkpoint + kOptimizerFile));
  for (const backprop::Parameter& parameter : model->parameters()) {
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

Status RunFolder::write_model(const std::string& path, const backprop::TrainModel& model) const {
  std::vector<TensorSpec> specs;
  for (const backprop::Parameter& parameter : model.parameters()) {
    ElementType type = *element_type(parameter.dtype);
    if (is_trained(parameter)) {
      type = stored_as_bf16(parameter, config_.checkpoint.weights) ? ElementType::kBF16
                                                                   : ElementType::kF32;
    }
    specs.push_back({parameter.name, type, parameter.shape});
  }
  sort_by_width(&specs);
  DSA_ASSIGN_OR_RETURN(SafetensorsWriter writer,
                       SafetensorsWriter::create(path, specs, {{"format", "pt"}}));
  for (const backprop::Parameter& parameter : model.parameters()) {
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
                                  const backprop::TrainModel& model,
                                  const AdamW& optimizer) const {
  std::vector<TensorSpec> specs;
  for (const backprop::Parameter& parameter : model.parameters()) {
    if (is_trained(parameter)) {
      specs.push_back({"value." + parameter.name, ElementType::kF32, parameter.shape});
    }
  }
  for (const AdamW::Slot& slot : optimizer.slots()) {
    for (const char* const part : {"mean.", "square."})
      specs.push_back({part + slot.parameter->name, ElementType::kF32, slot.parameter->shape});
  }
  DSA_ASSIGN_OR_RETURN(SafetensorsWriter writer, SafetensorsWriter::create(path, specs));
  for (const backprop::Parameter& parameter : model.parameters()) {
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
                                    const backprop::TrainModel& model,
                                    const AdamW& optimizer) const {
  const std::string path = config_.output + "/" + checkpoint_name(state.step);
  std::error_code failed;
  if (fs::exists(path, failed)) return path;  // this very step, saved before
  DSA_ASSIGN_OR_RETURN(AtomicFolder folder, AtomicFolder::create(path));
  DSA_RETURN_IF_ERROR(write_model(folder.file("model.safetensors"), model));
  DSA_RETURN_IF_ERROR(write_optimizer(folder.folder() + kOptimizerFile, model, optimizer));
  DSA_RETURN_IF_ERROR(write_tokenizer(folder.folder() + "/"));
  const char* const dtype = config_.checkpoint.weights == "f32" ? "float32" : "bfloat16";
  DSA_RETURN_IF_ERROR(
      write_file(folder.file("config.json"), model_config_json(start_.config, dtype)));
  DSA_RETURN_IF_ERROR(
      write_file(folder.folder() + kStateFile, run_state_text(state, config_, start_)));
  DSA_RETURN_IF_ERROR(folder.commit());
  DSA_RETURN_IF_ERROR(point_latest(path));
  remove_old();
  return path;
}

// A link is replaced as a whole by a rename.
Status RunFolder::point_latest(const std::string& checkpoint) const {
  const std::string pending = config_.output + "/.step-latest";
  const std::string link = config_.output + "/latest";
  std::error_code failed;
  fs::remove(pending, failed);
  fs::create_symlink(fs::path(checkpoint).filename(), pending, failed);
  if (!failed) fs::rename(pending, link, failed);
  if (!failed) return {};
  return error(StatusCode::kIoError, "{}: cannot point to {}: {}", link, checkpoint,
               failed.message());
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

}  // namespace dsa::trainer
