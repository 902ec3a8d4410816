#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 0
#include <toml++/toml.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "dsa/train.h"

#include "common/status_macros.h"
#include "io/mapped_file.h"
#include "trainer/config_keys.h"
#include "trainer/toml_text.h"

namespace dsa::trainer {
namespace {

constexpr size_t kMaxBytes = 1'000'000;

Status not_toml(const std::string& name, const toml::parse_error& problem) {
  return corruption("{}:{}: not TOML: {}", name, problem.source().begin.line,
                    problem.description());
}

bool read_text(const toml::node& node, const ConfigKey& key, std::string* out) {
  const auto* const text = node.as_string();
  if (text == nullptr) return false;
  *out = text->get();
  const bool chosen = key.choices.empty() ||
                      std::find(key.choices.begin(), key.choices.end(), *out) != key.choices.end();
  return chosen && !(key.min > 0 && out->empty()) && out->find('\0') == std::string::npos;
}

// Whether the node is what the key wants; its target has the value then.
struct Reader {
  const toml::node& node;
  const ConfigKey& key;

  bool operator()(std::string* out) const { return read_text(node, key, out); }
  bool operator()(std::vector<std::string>* out) const {
    out->assign(1, "");
    if (node.is_string()) return read_text(node, key, &out->front());
    const toml::array* const list = node.as_array();
    if (list == nullptr) return false;
    out->clear();
    for (const toml::node& element : *list) {
      if (!read_text(element, key, &out->emplace_back())) return false;
    }
    return true;
  }
  bool operator()(int64_t* out) const {
    const auto* const number = node.as_integer();
    if (number == nullptr) return false;
    *out = number->get();
    const auto value = static_cast<double>(*out);
    return value >= key.min && value <= key.max;
  }
  bool operator()(double* out) const {
    const auto number = node.value<double>();  // an integer will do
    if (!number || !node.is_number()) return false;
    *out = *number;
    return *out >= key.min && *out <= key.max;
  }
  bool operator()(bool* out) const {
    const auto* const flag = node.as_boolean();
    if (flag == nullptr) return false;
    *out = flag->get();
    return true;
  }
};

std::string shown(const toml::node& node) {
  std::ostringstream text;
  if (node.is_table()) {
    text << "a table";
  } else if (const auto* const string = node.as_string()) {
    text << '"' << string->get() << '"';
  } else {
    node.visit([&](const auto& value) { text << value; });
  }
  return text.str().substr(0, 60);
}

class ConfigReader {
 public:
  explicit ConfigReader(TrainConfig* config)
      : keys_(config_keys(config)), given_list_(&config->given) {}

  // where: "file.toml" or the override; line numbers follow where there are any.
  Status read(const toml::table& table, const std::string& where, const std::string& prefix) {
    for (const auto& [name, node] : table) {
      const std::string key = prefix + std::string(name.str());
      const std::string place = node.source().begin.line > 0 && !quiet_lines_
                                    ? fmt::format("{}:{}", where, node.source().begin.line)
                                    : where;
      if (const toml::table* const inner = node.as_table();
          inner != nullptr && prefix.empty() && is_table(key)) {
        DSA_RETURN_IF_ERROR(read(*inner, where, key + "."));
      } else {
        DSA_RETURN_IF_ERROR(read_key(node, place, key));
      }
    }
    return {};
  }

  Status read_override(const std::string& text) {
    const size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0) {
      return corruption("--set {:.200}: want key=value", text);
    }
    const std::string key = text.substr(0, equals);
    const std::string value = text.substr(equals + 1);
    const auto parse = [&](const std::string& toml) {
      const Result<std::string> ascii = ascii_toml(toml, text);
      return toml::parse(ascii.ok() ? *ascii : "not TOML");
    };
    toml::parse_result parsed = parse(key + " = " + value);
    if (!parsed) {  // a plain word is a text
      std::string quoted;
      for (const char c : value)
        quoted += c == '"' || c == '\\' ? std::string{'\\', c} : std::string(1, c);
      parsed = parse(key + " = \"" + quoted + "\"");
    }
    if (!parsed) return corruption("--set {:.200}: want key=value", text);
    quiet_lines_ = true;
    return read(parsed.table(), fmt::format("--set {:.200}", text), "");
  }

  Status finish(const std::string& name) const {
    for (const ConfigKey& key : keys_) {
      const bool needed = std::holds_alternative<std::string*>(key.target) && key.min > 0;
      if (needed && given_.count(key.name) == 0) {
        return corruption("{}: {}: absent, want {}", name, key.name, key.want());
      }
    }
    return {};
  }

 private:
  bool is_table(const std::string& name) const {
    return std::any_of(keys_.begin(), keys_.end(), [&](const ConfigKey& key) {
      return std::string_view(key.name).starts_with(name + ".");
    });
  }

  Status read_key(const toml::node& node, const std::string& place, const std::string& name) {
    const auto key = std::find_if(keys_.begin(), keys_.end(),
                                  [&](const ConfigKey& known) { return name == known.name; });
    if (key == keys_.end()) {
      return corruption("{}: {:.200}: unknown key; the nearest is {}", place, name,
                        nearest_name(keys_, name));
    }
    if (!std::visit(Reader{node, *key}, key->target)) {
      return corruption("{}: {}: {}, want {}", place, name, shown(node), key->want());
    }
    if (given_.insert(name).second) given_list_->push_back(name);
    return {};
  }

  std::vector<ConfigKey> keys_;
  std::set<std::string> given_;
  std::vector<std::string>* given_list_;
  bool quiet_lines_ = false;
};

}  // namespace
}  // namespace dsa::trainer

namespace dsa {

Result<TrainConfig> parse_train_config(const std::string& text,
                                       const std::string& name,
                                       const std::vector<std::string>& overrides) {
  if (text.size() > trainer::kMaxBytes) {
    return corruption("{}: {} bytes, want at most {}", name, text.size(), trainer::kMaxBytes);
  }
  DSA_ASSIGN_OR_RETURN(const std::string ascii, trainer::ascii_toml(text, name));
  const toml::parse_result parsed = toml::parse(ascii);
  if (!parsed) return trainer::not_toml(name, parsed.error());
  TrainConfig config;
  trainer::ConfigReader reader(&config);
  DSA_RETURN_IF_ERROR(reader.read(parsed.table(), name, ""));
  for (const std::string& change : overrides)
    DSA_RETURN_IF_ERROR(reader.read_override(change));
  DSA_RETURN_IF_ERROR(reader.finish(name));
  return config;
}

Result<TrainConfig> read_train_config(const std::string& path,
                                      const std::vector<std::string>& overrides) {
  DSA_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::open(path));
  const auto bytes = file.bytes();
  return parse_train_config(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()),
                            path, overrides);
}

}  // namespace dsa
