#include "cli/command_line.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "dsa/version.h"

namespace cli {
namespace {

constexpr size_t kNameColumn = 34;
constexpr size_t kDescriptionColumn = 66;

std::string wrap(const std::string& text, size_t width) {
  std::string out;
  size_t line = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(' ', begin), text.size());
    if (line > 0 && line + 1 + end - begin > width) {
      out += '\n';
      line = 0;
    } else if (line > 0) {
      out += ' ';
      ++line;
    }
    out += text.substr(begin, end - begin);
    line += end - begin;
    begin = end + 1;
  }
  return out;
}

// How --help looks: option, value, wrapped description; no list of what excludes what.
class HelpFormatter : public CLI::Formatter {
 public:
  HelpFormatter() {
    column_width(kNameColumn);
    label("SUBCOMMAND", "COMMAND");
    label("Positionals", "Arguments");
  }

  std::string make_option_opts(const CLI::Option* option) const override {
    if (option->get_type_size() == 0 || option->get_positional()) return "";
    return " " + option->get_type_name();
  }

  std::string make_option_desc(const CLI::Option* option) const override {
    const char* required = option->get_required() ? " (required)" : "";
    return wrap(option->get_description() + required, kDescriptionColumn);
  }

  std::string make_help(const CLI::App* app,
                        std::string name,
                        CLI::AppFormatMode mode) const override {
    return CLI::detail::find_and_replace(Formatter::make_help(app, name, mode), "\n\n\n", "\n\n");
  }
};

}  // namespace

Option Option::type_name(const std::string& name) const {
  return Option(option_->type_name(name));
}

Option Option::group(const std::string& heading) const {
  return Option(option_->group(heading));
}

Option Option::show_default() const {
  return Option(option_->capture_default_str());
}

Option Option::required() const {
  return Option(option_->required());
}

Option Option::needs(Option other) const {
  return Option(option_->needs(other.option_));
}

Option Option::excludes(Option other) const {
  return Option(option_->excludes(other.option_));
}

Option Option::check(const Check& check) const {
  return Option(option_->check(check));
}

Option Option::range(double least, double most) const {
  return Option(option_->check(CLI::Range(least, most)));
}

Option Option::one_of(const std::vector<std::string>& values) const {
  return Option(option_->check(CLI::IsMember(values)));
}

Option Option::expected(int least, int most) const {
  return Option(option_->expected(least, most));
}

Option Option::one_each() const {
  return Option(option_->allow_extra_args(false));
}

bool Option::given() const {
  return option_->count() > 0;
}

template <class T>
Option App::add_option(const std::string& name, T& value, const std::string& description) const {
  return Option(app_->add_option(name, value, description));
}

using Text = const std::string&;
template Option App::add_option(Text, std::string&, Text) const;
template Option App::add_option(Text, int&, Text) const;
template Option App::add_option(Text, int64_t&, Text) const;
template Option App::add_option(Text, uint16_t&, Text) const;
template Option App::add_option(Text, uint64_t&, Text) const;
template Option App::add_option(Text, double&, Text) const;
template Option App::add_option(Text, std::optional<std::string>&, Text) const;
template Option App::add_option(Text, std::optional<int>&, Text) const;
template Option App::add_option(Text, std::optional<uint64_t>&, Text) const;
template Option App::add_option(Text, std::optional<float>&, Text) const;
template Option App::add_option(Text, std::optional<double>&, Text) const;
template Option App::add_option(Text, std::vector<std::string>&, Text) const;

Option App::add_option_function(const std::string& name,
                                const std::function<void(const std::string& text)>& read,
                                const std::string& description) const {
  return Option(app_->add_option_function<std::string>(name, read, description));
}

Option App::add_flag(const std::string& name, bool& value, const std::string& description) const {
  return Option(app_->add_flag(name, value, description));
}

Action App::add_subcommands(const char* group, std::span<const Subcommand> subcommands) const {
  app_->require_subcommand(1);
  auto actions = std::make_shared<std::map<const CLI::App*, Action>>();
  for (const Subcommand& subcommand : subcommands) {
    CLI::App* const added = app_->add_subcommand(subcommand.name, subcommand.summary);
    added->group(group);
    App app(added);
    (*actions)[added] = subcommand.add(app);
  }
  return [app = app_, actions] { return actions->at(app->get_subcommands().front())(); };
}

void App::footer(const std::string& text) const {
  app_->footer(text);
}

std::vector<std::string> App::given() const {
  std::vector<std::string> names;
  for (const CLI::Option* option : std::as_const(*app_).get_options()) {
    if (option->count() > 0) names.push_back(option->get_name());
  }
  return names;
}

CommandLine::CommandLine(const char* footer, std::span<const Subcommand> commands)
    : app_(std::make_unique<CLI::App>("DeepSeek Sparse Attention on CPUs.", "dsa")) {
  app_->formatter(std::make_shared<HelpFormatter>());
  app_->set_help_flag("-h,--help", "Show this help");
  app_->set_version_flag("--version", "dsa " DSA_VERSION, "Show the version");
  app_->footer(footer);
  action_ = App(app_.get()).add_subcommands("Commands", commands);
}

CommandLine::~CommandLine() = default;

Action CommandLine::parse(int argc, char** argv) {
  std::string wrong;
  try {
    app_->parse(argc, argv);
    return action_;
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {  // --help and --version
      app_->exit(error);
      return {};
    }
    wrong = error.what();
  } catch (const UsageError& error) {
    wrong = error.what();
  }
  const auto unknown = app_->remaining(true);
  if (!unknown.empty()) wrong = fmt::format("unknown argument \"{}\"", unknown.front());
  throw UsageError(wrong);
}

std::string CommandLine::who() const {
  const auto chosen = std::as_const(*app_).get_subcommands();
  return chosen.empty() ? std::string("dsa") : "dsa " + chosen.front()->get_name();
}

}  // namespace cli
