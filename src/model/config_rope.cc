#include "model/config_rope.h"

#include <fmt/format.h>

#include <cmath>
#include <optional>

#include "model/config_bounds.h"

namespace dsa {

using nlohmann::json;

namespace {

constexpr double kMinTheta = 1.001;  // YaRN divides by its logarithm
constexpr double kMaxTheta = 1e15;
constexpr double kMaxFactor = 1e6;

// What the fields beside the rope object say.
struct Outer {
  double theta = 0;  // 0: nothing
  int64_t max_position = 0;
  int64_t original_max_position = 0;  // 0: nothing
};

double mscale_of(double factor, double mscale) {
  return factor > 1 ? 0.1 * mscale * std::log(factor) + 1 : 1;
}

// The factor on sine and cosine. Where mscale and mscale_all_dim are not both given, programs agree
// only about one case: neither of them.
void read_attention_factor(ConfigFields& fields, RopeConfig& rope) {
  const bool both = fields.has("mscale") && fields.has("mscale_all_dim");
  rope.mscale = fields.number_or("mscale", 1, 0, 1e3);
  rope.mscale_all_dim = fields.number_or("mscale_all_dim", 0, 0, 1e3);
  if (fields.has("attention_factor")) {
    rope.attention_factor = fields.number_or("attention_factor", 1, kTiny, 1e3);
    return;
  }
  if (both && rope.mscale > 0 && rope.mscale_all_dim > 0) {
    rope.attention_factor =
        mscale_of(rope.factor, rope.mscale) / mscale_of(rope.factor, rope.mscale_all_dim);
    return;
  }
  rope.attention_factor = mscale_of(rope.factor, 1);
  if (rope.mscale != 1) {
    fields.refuse_as_unsupported("mscale",
                                 "both it and mscale_all_dim above 0, or an attention_factor");
  }
  if (rope.mscale_all_dim != 0) {
    fields.refuse_as_unsupported("mscale_all_dim",
                                 "a mscale above 0 with it, or an attention_factor");
  }
}

void read_yarn(ConfigFields& fields, const Outer& outer, RopeConfig& rope) {
  rope.scaling = RopeScaling::kYarn;
  rope.original_max_position = fields.integer_or(
      "original_max_position_embeddings",
      outer.original_max_position > 0 ? outer.original_max_position : outer.max_position, 1,
      kMaxPosition);
  if (outer.original_max_position > 0 &&
      outer.original_max_position != rope.original_max_position) {
    fields.refuse_value("original_max_position_embeddings",
                        fmt::format("{}, as the other place says", outer.original_max_position));
  }
  rope.factor = fields.number_or("factor", 0, 1, kMaxFactor);
  if (rope.factor == 0) {  // absent: what the two lengths say
    rope.factor =
        static_cast<double>(outer.max_position) / static_cast<double>(rope.original_max_position);
    if (rope.factor < 1) fields.refuse_value("factor", "a number of at least 1");
  }
  rope.beta_fast = fields.number_or("beta_fast", rope.beta_fast, kTiny, 1e6);
  rope.beta_slow = fields.number_or("beta_slow", rope.beta_slow, kTiny, 1e6);
  if (rope.beta_fast < rope.beta_slow) fields.refuse_value("beta_fast", "at least beta_slow");
  read_attention_factor(fields, rope);
  fields.expect("truncate", true);
}

RopeConfig read_rope_object(ConfigFields& fields, const Outer& outer) {
  RopeConfig rope;
  rope.theta = fields.number_or("rope_theta", outer.theta, kMinTheta, kMaxTheta);
  fields.expect("partial_rotary_factor", 1);
  const std::string old_type = fields.text_or("type", "default");
  const std::string type = fields.text_or("rope_type", old_type);
  if (type == "yarn") {
    read_yarn(fields, outer, rope);
  } else if (type == "linear") {
    rope.scaling = RopeScaling::kLinear;
    rope.factor = fields.number("factor", 1, kMaxFactor);
  } else if (type == "default") {
    fields.expect("factor", 1);
    fields.expect("attention_factor", 1);
    fields.integer_or("original_max_position_embeddings", 1, 1, kMaxPosition);
  } else {
    fields.refuse_as_unsupported(fields.has("rope_type") ? "rope_type" : "type",
                                 "\"default\", \"linear\" or \"yarn\"");
  }
  if (fields.has("type") && type != old_type) {
    fields.refuse_value("type", fmt::format("\"{}\", as rope_type says", type));
  }
  const bool scaled = rope.factor != 1 || rope.attention_factor != 1;
  return scaled ? rope : RopeConfig{.theta = rope.theta};
}

}  // namespace

void read_rope(ConfigFields& fields, const std::string& name, ModelConfig& config) {
  Outer outer;
  outer.theta = fields.number_or("rope_theta", 0, kMinTheta, kMaxTheta);
  outer.max_position = config.max_position;
  outer.original_max_position =
      fields.integer_or("original_max_position_embeddings", 0, 1, kMaxPosition);
  fields.expect("partial_rotary_factor", 1);
  std::optional<RopeConfig> found;
  for (const char* key : {"rope_parameters", "rope_scaling"}) {
    const json* const object = fields.object_or_null(key);
    if (object == nullptr) continue;
    ConfigFields inner(*object, fmt::format("{}: {}.", name, key));
    RopeConfig rope = read_rope_object(inner, outer);
    fields.keep(inner.finish({}));
    if (found && rope.theta == 0) rope.theta = found->theta;
    if (found && found->theta == 0) found->theta = rope.theta;
    if (found && rope != *found) fields.refuse_value(key, "what rope_parameters says, or null");
    if (!found) found = rope;
  }
  if (found) config.rope = *found;
  if (!found) config.rope.theta = outer.theta;
  if (config.rope.theta == 0) {
    fields.refuse_value("rope_theta", "a number, here or in rope_parameters");
  }
  if (outer.theta != 0 && outer.theta != config.rope.theta) {
    fields.refuse_value("rope_theta",
                        fmt::format("{}, as the other place says", config.rope.theta));
  }
}

}  // namespace dsa
