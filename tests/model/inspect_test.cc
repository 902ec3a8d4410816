// What inspect_checkpoint() finds in directories that are broken or hostile.
#include "dsa/inspect.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "dsa/model.h"

#include "tests/io/safetensors_bytes.h"
#include "tests/io/temp_dir.h"

namespace dsa {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

json deepseek_config() {
  std::ostringstream text;
  text << std::ifstream(DSA_SOURCE_DIR "/tests/fuzz/corpus/config/deepseek_v32.json").rdbuf();
  return json::parse(text.str());
}

// A header of tensors of the unknown type F64 that have no bytes.
std::string without_bytes(std::initializer_list<const char*> shapes) {
  json header;
  for (const char* shape : shapes) {
    header[fmt::format("t{}", header.size())] = {
        {"dtype", "F64"}, {"shape", json::parse(shape)}, {"data_offsets", {0, 0}}};
  }
  return safetensors_bytes(header.dump(), 0);
}

TEST(Inspect, StopsListingProblemsOfAConfigurationThatAsksForMillionsOfTensors) {
  const TempDir dir;
  json config = deepseek_config();
  config["num_hidden_layers"] = 4000;
  config["n_routed_experts"] = 65536;
  dir.write("config.json", config.dump());
  dir.write("model.safetensors", without_bytes({"[0]"}));
  const auto found = inspect_checkpoint(dir.path());
  ASSERT_TRUE(found.ok()) << found.status().message();
  EXPECT_THAT(found->problems, SizeIs(1000));
  EXPECT_THAT(found->notes, ElementsAre(HasSubstr("stopped after 1000 problems")));
  EXPECT_THAT(found->unused, IsEmpty());
  EXPECT_THAT(Model::open(dir.path()).status().message(),
              AllOf(HasSubstr("no tensor \"model.embed_tokens.weight\""), HasSubstr(dir.path())));
}

TEST(Inspect, RefusesTensorsWhoseElementsTogetherOverflow) {
  const TempDir dir;
  const char* half = "[4611686018427387904]";
  const auto found = inspect_checkpoint(dir.write("one.safetensors", without_bytes({half})));
  ASSERT_TRUE(found.ok()) << found.status().message();
  EXPECT_EQ(found->n_parameters, int64_t{1} << 62);
  const Status status =
      inspect_checkpoint(dir.write("two.safetensors", without_bytes({half, half}))).status();
  EXPECT_EQ(status.code(), StatusCode::kCorruption);
  EXPECT_THAT(status.message(), HasSubstr("overflow"));
}

TEST(Inspect, NotesAnIndexThatIsNotRead) {
  const TempDir dir;
  json config = deepseek_config();
  config["num_hidden_layers"] = 1;
  dir.write("config.json", config.dump());
  dir.write("model.safetensors", without_bytes({"[0]"}));
  EXPECT_THAT(inspect_checkpoint(dir.path())->notes, IsEmpty());
  dir.write("model.safetensors.index.json", "{}");
  EXPECT_THAT(inspect_checkpoint(dir.path())->notes,
              ElementsAre(HasSubstr("model.safetensors is read, its index is not")));
}

}  // namespace
}  // namespace dsa
