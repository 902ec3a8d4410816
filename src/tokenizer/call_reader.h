// One tool call while its text arrives: from behind <｜DSML｜invoke name="..."> to its end.
//
// A call is held until it has ended or kHeldCall bytes of it have been understood. Until then it
// can still turn out to be no call, and its text is given back; from then on its arguments are
// given out as they are written, and a call that is not read whole is never closed.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tokenizer/chat_tag.h"
#include "tokenizer/parameter_types.h"

namespace dsa::chat {

class CallReader {
 public:
  static constexpr std::size_t kHeldCall = 256;

  enum class Step : unsigned char { kOn, kNeedsMore, kClosed, kMalformed };

  // tag: the text of the invoke tag. end_mark: text that cannot be inside the call; "" none.
  CallReader(std::string name,
             std::string_view tag,
             const ParameterTypes& types,
             std::string_view end_mark);

  // Takes what it understands off the beginning of `held`.
  Step advance(std::string& held);
  // The text has ended inside the call.
  void cut();

  const std::string& name() const { return name_; }
  bool given_out() const { return given_out_; }      // it is a call, whatever comes
  const std::string& text() const { return text_; }  // of a call not given out: all it took
  std::string take_arguments();                      // JSON text to give out; "" before given_out()

 private:
  enum class Way : unsigned char { kUndecided, kHeld, kText, kJson };

  // A value whose end has not been reached.
  struct Value {
    std::string name;
    bool text = false;  // string="true"
    bool body = false;  // an object in place of parameters
    JsonKinds kinds;
    Way way = Way::kUndecided;
    std::string written;
    bool named = false;       // its name was given out
    std::size_t n_given = 0;  // bytes of `written` that were given out
    std::size_t begin = 0;    // n_understood_ where it began
  };

  Step step(std::string& held);
  Step open_value(std::string& held, const Tag& tag);
  Step advance_value(std::string& held);
  Step close_value();
  Step close_body();
  void decide_way();
  bool streams() const;
  void give_value();
  void begin_argument(const std::string& name);
  void add_argument(const std::string& name, std::string json);
  void give_out();
  void take(std::string& held, std::size_t n);
  void take_value(std::string& held, std::size_t n);

  std::string name_;
  const ParameterTypes* types_;
  std::string_view end_mark_;
  std::string text_;
  std::size_t n_understood_ = 0;
  bool given_out_ = false;
  bool in_value_ = false;
  bool had_body_ = false;
  Value value_;
  std::vector<std::pair<std::string, std::string>> arguments_;  // names and JSON, until given out
  std::vector<std::string> names_;                              // of those given out
  std::string out_;
};

}  // namespace dsa::chat
