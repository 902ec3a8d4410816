// Any directory as a checkpoint: config.json, an index, two files of tensors. It is refused, or it
// opens; inspect says which, and never contradicts Model::open().
//
// The input is the four files one after the other with "\n--\n" between them; one that is empty is
// left out, but an empty config.json is a small valid one.
#include <stdlib.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "dsa/inspect.h"
#include "dsa/model.h"

namespace {

constexpr std::array kFiles = {"config.json", "model.safetensors.index.json", "model.safetensors",
                               "other.safetensors"};
constexpr std::string_view kBetween = "\n--\n";
constexpr size_t kMaxProblems = 1000;

constexpr std::string_view kConfig =
    R"({"model_type":"deepseek_v32","vocab_size":2,"hidden_size":4,"intermediate_size":2,)"
    R"("num_hidden_layers":2,"max_position_embeddings":8,"rms_norm_eps":1e-6,)"
    R"("num_attention_heads":1,"q_lora_rank":2,"kv_lora_rank":2,"qk_nope_head_dim":2,)"
    R"("qk_rope_head_dim":2,"v_head_dim":2,"rope_theta":10000,"index_n_heads":1,)"
    R"("index_head_dim":2,"index_topk":1,"n_routed_experts":1,"num_experts_per_tok":1,)"
    R"("moe_intermediate_size":2,"n_group":1,"topk_group":1,"routed_scaling_factor":1,)"
    R"("first_k_dense_replace":1,"quantization_config":{"quant_method":"fp8",)"
    R"("weight_block_size":[128,128]}})";

void check(bool promise) {
  if (!promise) std::abort();
}

// Of the process; removed at its end.
class Directory {
 public:
  Directory() : path_((std::filesystem::temp_directory_path() / "dsa-fuzz-XXXXXX").string()) {
    check(::mkdtemp(path_.data()) != nullptr);
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  ~Directory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  const std::string& path() const { return path_; }

  void write(const char* name, std::string_view content) const {
    const std::string file = path_ + "/" + name;
    if (content.empty()) {
      std::filesystem::remove(file);
    } else {
      std::ofstream(file, std::ios::binary) << content;
    }
  }

 private:
  std::string path_;
};

void write_files(const Directory& directory, std::string_view input) {
  for (const char* name : kFiles) {
    const size_t end = std::min(input.find(kBetween), input.size());
    const std::string_view content = input.substr(0, end);
    directory.write(name, content.empty() && name == kFiles[0] ? kConfig : content);
    input.remove_prefix(std::min(end + kBetween.size(), input.size()));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Directory directory;
  write_files(directory, {reinterpret_cast<const char*>(data), size});
  const auto found = dsa::inspect_checkpoint(directory.path());
  const auto model = dsa::Model::open(directory.path());
  if (!model.ok()) check(!model.status().message().empty());
  check(model.ok() == (found.ok() && found->problems.empty()));
  if (!found.ok()) return 0;
  check(found->problems.size() <= kMaxProblems);
  check(found->n_parameters >= 0 && found->total_bytes >= 0);
  if (model.ok()) check((*model)->weight_bytes() <= found->total_bytes);
  return 0;
}
