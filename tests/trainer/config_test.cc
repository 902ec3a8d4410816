#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dsa/train.h"

namespace dsa::trainer {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr const char* kLeast = "stage = \"pretrain\"\noutput = \"out\"\n";

Result<TrainConfig> parse(const std::string& text, const std::vector<std::string>& changes = {}) {
  return parse_train_config(kLeast + text, "c.toml", changes);
}

void expect_refused(const std::string& text, const std::string& words) {
  const auto config = parse(text);
  ASSERT_FALSE(config.ok()) << text;
  EXPECT_THAT(config.status().message(), HasSubstr(words));
}

TEST(TrainConfig, ReadsEveryKindOfValue) {
  const auto config = parse(
      "seed = 7\n[data]\ntext = [\"a\", \"b\"]\nheld_out = 0\n[optimizer]\nlearning_rate = 3e-4\n"
      "[precision]\nbf16 = true\n[model]\nhidden = 96\n");
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_EQ(config->stage, "pretrain");
  EXPECT_EQ(config->seed, 7);
  EXPECT_THAT(config->data.text, ElementsAre("a", "b"));
  EXPECT_EQ(config->data.held_out, 0);
  EXPECT_EQ(config->optimizer.learning_rate, 3e-4);
  EXPECT_TRUE(config->precision.bf16);
  EXPECT_EQ(config->model.hidden, 96);
  EXPECT_EQ(config->model.layers, 6);
}

TEST(TrainConfig, RefusesUnknownKeysWithTheNearestKnownOne) {
  expect_refused("[optimizer]\nlearning_rat = 1",
                 "optimizer.learning_rat: unknown key; the "
                 "nearest is optimizer.learning_rate");
  expect_refused("[model]\ncontext = 1", "nearest is data.context");
  expect_refused("[optimiser]\nsteps = 1", "optimiser: unknown key");
  expect_refused("sed = 1", "c.toml:3: sed: unknown key; the nearest is seed");
}

TEST(TrainConfig, RefusesValuesOfAnotherTypeOrOutOfRange) {
  expect_refused("seed = \"1\"", "c.toml:3: seed: \"1\", want an integer from 0");
  expect_refused("seed = 1.5", "want an integer");
  expect_refused("[model]\nhidden = 0", "model.hidden: 0, want an integer from 1");
  expect_refused("[data]\nheld_out = 0.7", "want a number from 0 to 0.5");
  expect_refused("[data]\nheld_out = nan", "held_out");
  expect_refused("[precision]\nbf16 = 1", "want true or false");
  expect_refused("[data]\ntext = [1]", "want a text or a list of texts");
  expect_refused("[checkpoint]\nweights = \"fp4\"", "want \"bf16\" or \"f32\"");
  expect_refused("model = 3", "model: unknown key");
  expect_refused("[seed]\nx = 1", "seed: a table");
}

TEST(TrainConfig, NeedsAStageAndAnOutput) {
  EXPECT_THAT(parse_train_config("output = \"x\"", "c", {}).status().message(),
              HasSubstr("stage: absent"));
  EXPECT_THAT(parse_train_config("stage = \"warmup\"", "c", {}).status().message(),
              HasSubstr("output: absent"));
  EXPECT_FALSE(parse_train_config("stage = \"dense\"\noutput = \"x\"", "c", {}).ok());
  EXPECT_FALSE(parse_train_config("stage = \"sparse\"\noutput = \"\"", "c", {}).ok());
}

TEST(TrainConfig, TellsTheLineOfTextThatIsNotToml) {
  expect_refused("[model\n", "c.toml:3: not TOML");
  expect_refused("seed = 1\nseed = 2\n", "c.toml:4");
}

TEST(TrainConfig, RefusesATableWithoutAName) {
  for (const char* text :
       {"[", "[\n", "[*]", "[#", "[[", "[[*]]", "[[[data]]]", "  [ =", "[]", "# \n[."})
    expect_refused(text, "not TOML");
  EXPECT_TRUE(parse(" [ \"data\" ]\nseparator = '['").ok());
}

TEST(TrainConfig, TakesLettersOutsideAsciiInTextsAndCommentsAlone) {
  const auto config =
      parse("# \u00e9\ninit = \"d\u00e9 \\\" \u00e9\"\n[data]\nseparator = '\u00e9'\n",
            {"data.tokens=\u00e9"});
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_EQ(config->init, "d\u00e9 \" \u00e9");
  EXPECT_EQ(config->data.separator, "\u00e9");
  EXPECT_EQ(config->data.tokens, "\u00e9");
  EXPECT_EQ(parse("init = 'a\\b\"\U0001F600\u4e00'")->init, "a\\b\"\U0001F600\u4e00");
  expect_refused("\u00c8 = 1", "c.toml:3: not TOML: a character that is not ASCII");
  expect_refused("seed = \u00e9", "not ASCII");
  expect_refused("init = \"a\"\u00e9", "not ASCII");
  expect_refused("init = \"\\\u00e9\"", "an unknown escape");
  expect_refused("init = \"\xe9\"", "no UTF-8");
  expect_refused("seed = 1'\u96d2\x02", "c.toml:3: not TOML");
  expect_refused("init = \"\"\"\na\"\"\"", "c.toml:3: not TOML: a text over several lines");
  EXPECT_FALSE(parse("", {"\u00e9=1"}).ok());
}

TEST(TrainConfig, IsChangedByOverrides) {
  const auto config = parse("[optimizer]\nsteps = 5\n",
                            {"optimizer.steps=9", "output=a/b \"c\"", "data.text=[\"x\",\"y\"]",
                             "precision.recompute=true", "stage=sparse"});
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_EQ(config->optimizer.steps, 9);
  EXPECT_EQ(config->output, "a/b \"c\"");
  EXPECT_THAT(config->data.text, ElementsAre("x", "y"));
  EXPECT_TRUE(config->precision.recompute);
  EXPECT_EQ(config->stage, "sparse");
}

TEST(TrainConfig, NamesTheOverrideItRefuses) {
  for (const std::string change : {"steps", "=1", "optimizer.steps=0", "optimizer.steps=x",
                                   "optimizer.stebs=3", "a b = 3", "[x]=1", "seed=1\nx=2"}) {
    const auto config = parse("", {change});
    ASSERT_FALSE(config.ok()) << change;
    EXPECT_THAT(config.status().message(), HasSubstr("--set ")) << change;
  }
  EXPECT_THAT(parse("", {"optimizer.stebs=3"}).status().message(),
              HasSubstr("nearest is optimizer.steps"));
}

TEST(TrainConfig, ListsItsKeys) {
  const auto keys = train_config_keys();
  EXPECT_GT(keys.size(), 50U);
  for (const TrainKey& key : keys) {
    EXPECT_FALSE(key.want.empty() || key.meaning.empty()) << key.name;
  }
}

TEST(TrainConfig, TellsWhichFileIsMissing) {
  EXPECT_THAT(read_train_config("/nonexistent.toml", {}).status().message(),
              HasSubstr("/nonexistent.toml"));
}

}  // namespace
}  // namespace dsa::trainer
