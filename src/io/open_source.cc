#include "io/open_source.h"

#include <filesystem>
#include <utility>

#include "common/status_macros.h"
#include "io/checkpoint.h"

namespace dsa {

Result<OpenedSource> open_source(const std::string& path) {
  OpenedSource opened;
  std::error_code ignored;
  if (std::filesystem::exists(path, ignored) && !std::filesystem::is_directory(path, ignored)) {
    DSA_ASSIGN_OR_RETURN(Checkpoint file, Checkpoint::open_file(path));
    opened.tensors = std::make_unique<Checkpoint>(std::move(file));
    return opened;
  }
  DSA_ASSIGN_OR_RETURN(Checkpoint folder, Checkpoint::open(path));
  opened.has_config = true;
  opened.config_text = folder.config_text();
  opened.config_path = folder.config_path();
  opened.notes = folder.notes();
  opened.tensors = std::make_unique<Checkpoint>(std::move(folder));
  return opened;
}

Result<OpenedSource> open_model_source(const std::string& path) {
  DSA_ASSIGN_OR_RETURN(OpenedSource opened, open_source(path));
  if (!opened.has_config) {
    return invalid_argument("{}: one file without a config.json, want a folder", path);
  }
  return opened;
}

}  // namespace dsa
