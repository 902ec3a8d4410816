// The command line as commands declare it. CLI11 parses it, in command_line.cc alone: its headers
// take longer to compile than the commands themselves.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "dsa/status.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace cli {

// Runs a command. A failure is a Status (exit code 1), a mistake on the command line that the
// parser could not see a UsageError (exit code 2).
using Action = std::function<dsa::Status()>;

class UsageError : public std::runtime_error {
 public:
  explicit UsageError(const std::string& message) : std::runtime_error(message) {}
  UsageError(const std::string& option, const std::string& message)
      : std::runtime_error(option + ": " + message) {}
};

// What is wrong with a value as it was written; "" when it is right.
using Check = std::function<std::string(const std::string& text)>;

// An option, flag or positional argument of a command. A reference: a copy is the same option.
class Option {
 public:
  explicit Option(CLI::Option* option) : option_(option) {}

  Option type_name(const std::string& name) const;  // of the value, in the help
  Option group(const std::string& heading) const;   // of the help
  Option show_default() const;                      // in the help: the value it has now
  Option required() const;
  Option needs(Option other) const;
  Option excludes(Option other) const;

  Option check(const Check& check) const;
  Option range(double least, double most) const;
  Option one_of(const std::vector<std::string>& values) const;

  // Of a list: how many values it takes.
  Option expected(int least, int most) const;
  // Of a list: each value follows an option's name of its own.
  Option one_each() const;

  bool given() const;

 private:
  CLI::Option* option_;
};

class App;

struct Subcommand {
  const char* name;
  const char* summary;
  Action (*add)(App& app);  // declares its options; returns what runs it
};

// A command. A reference: a copy is the same command.
class App {
 public:
  explicit App(CLI::App* app) : app_(app) {}

  // name: "-m,--model", or "DIR" of an argument that is told by its position.
  // T: string, (u)int16_t to (u)int64_t, float or double, an optional of these, a vector of
  // strings; those that some command uses (command_line.cc lists them).
  template <class T>
  Option add_option(const std::string& name, T& value, const std::string& description) const;

  // For values of other types: reads one, or throws UsageError.
  Option add_option_function(const std::string& name,
                             const std::function<void(const std::string& text)>& read,
                             const std::string& description) const;

  Option add_flag(const std::string& name, bool& value, const std::string& description) const;

  // One of which must be given; what runs it. group: their heading in the help.
  Action add_subcommands(const char* group, std::span<const Subcommand> subcommands) const;

  void footer(const std::string& text) const;  // of the help

  // Names of the options that were given.
  std::vector<std::string> given() const;

 private:
  CLI::App* app_;
};

// The program and what it was asked for.
class CommandLine {
 public:
  // footer: of its help
  CommandLine(const char* footer, std::span<const Subcommand> commands);
  ~CommandLine();

  // What runs the command that was asked for. Empty when help or the version was asked for, which
  // is printed. Throws UsageError.
  Action parse(int argc, char** argv);

  // "dsa run", or "dsa" when no command is known.
  std::string who() const;

 private:
  std::unique_ptr<CLI::App> app_;
  Action action_;
};

}  // namespace cli
