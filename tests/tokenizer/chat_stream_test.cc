#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <ostream>
#include <string>
#include <vector>

#include "dsa/chat.h"

namespace dsa {
namespace {

using Kind = CompletionPart::Kind;
using Calls = CompletionFormat::Calls;

constexpr const char* kTools = R"([{"type": "function", "function": {"name": "get_weather",
  "parameters": {"type": "object", "properties": {
    "city": {"type": "string"}, "days": {"type": "integer"},
    "note": {"anyOf": [{"type": "string"}, {"type": "null"}]}, "any": {}}}}},
  {"type": "function", "function": {"name": "write_file", "parameters": {"type": "object",
    "properties": {"path": {"type": "string"}, "content": {"type": "string"},
                   "edits": {"type": "array"}}}}}])";

struct Read {
  std::string reasoning;
  std::string content;
  std::vector<ToolCall> calls;
  int64_t n_whole = 0;

  void add(const std::vector<CompletionPart>& parts) {
    for (const CompletionPart& part : parts) {
      if (part.kind == Kind::kReasoning) reasoning += part.text;
      if (part.kind == Kind::kContent) content += part.text;
      if (part.kind == Kind::kCallName) {
        EXPECT_EQ(part.call, static_cast<int64_t>(calls.size()));
        calls.push_back({part.text, ""});
      }
      if (part.kind == Kind::kCallArguments) {
        calls.at(static_cast<size_t>(part.call)).arguments += part.text;
      }
    }
  }

  // One text for comparison and for messages of failures.
  std::string all() const {
    std::string out = "[" + reasoning + "][" + content + "]";
    for (const ToolCall& call : calls)
      out += " " + call.name + " " + call.arguments;
    return out + " whole " + std::to_string(n_whole);
  }
};

Read read(std::string_view text, size_t step, const CompletionFormat& format) {
  CompletionStream stream(format);
  Read out;
  for (size_t at = 0; at < text.size(); at += step)
    out.add(stream.push(text.substr(at, step)));
  out.add(stream.finish());
  out.n_whole = stream.n_whole_calls();
  return out;
}

// Read in pieces of every length, and cut in two at every place: always the same.
Read read(std::string_view text, bool thinking = false, Calls calls = Calls::kRead) {
  const CompletionFormat format{thinking, calls, kTools};
  const Read whole = read(text, std::max<size_t>(text.size(), 1), format);
  for (size_t step = 1; step < text.size(); step += 1 + step / 16)
    EXPECT_EQ(read(text, step, format).all(), whole.all()) << "pieces of " << step;
  for (size_t cut = 1; cut < text.size(); cut += 1 + text.size() / 500) {
    CompletionStream stream(format);
    Read both;
    both.add(stream.push(text.substr(0, cut)));
    both.add(stream.push(text.substr(cut)));
    both.add(stream.finish());
    both.n_whole = stream.n_whole_calls();
    EXPECT_EQ(both.all(), whole.all()) << "cut at " << cut;
  }
  return whole;
}

#define BLOCK "<｜DSML｜function_calls>"
#define END_BLOCK "</｜DSML｜function_calls>"
#define INVOKE "<｜DSML｜invoke name=\"get_weather\">"
#define END_INVOKE "</｜DSML｜invoke>"
#define TEXT(name, value) \
  "<｜DSML｜parameter name=\"" name "\" string=\"true\">" value "</｜DSML｜parameter>"
#define OTHER(name, value) \
  "<｜DSML｜parameter name=\"" name "\" string=\"false\">" value "</｜DSML｜parameter>"
#define PARIS INVOKE "\n" TEXT("city", "Paris") "\n" END_INVOKE

// What an assistant with these calls writes, taken from the prompt of a conversation that goes on.
std::string written(const std::string& content, const std::vector<ToolCall>& calls) {
  std::vector<ChatMessage> messages(3);
  messages[0].role = messages[2].role = "user";
  messages[1].role = "assistant";
  messages[1].content = content;
  messages[1].tool_calls = calls;
  const auto all = encode_chat(messages, {});
  const auto before = encode_chat(std::span(messages).first(1), {});
  EXPECT_TRUE(all.ok() && before.ok());
  const size_t end = all->find("<｜end▁of▁sentence｜>");
  return all->substr(before->size(), end - before->size());
}

TEST(CompletionStream, GivesWhatParseCompletionGivesHoweverTheTextIsCut) {
  const std::vector<ToolCall> calls = {
      {"weather", R"({"city": "Aix < \"x\"\nen", "days": 3, "list": [1, {"a": null}]})"},
      {"now", "{}"},
      {"then", R"({"at": true})"}};
  for (const std::string& content : {std::string(), std::string("Let me see.\n\n")}) {
    const std::string text = written(content, calls);
    const auto whole = parse_completion(text, false);
    ASSERT_TRUE(whole.ok()) << whole.status().message();
    const Read parsed = read(text);
    EXPECT_EQ(parsed.content, whole->content);
    ASSERT_EQ(parsed.calls.size(), 3U);
    EXPECT_EQ(parsed.n_whole, 3);
    for (size_t i = 0; i < 3; ++i) {
      EXPECT_EQ(parsed.calls[i].name, whole->tool_calls[i].name);
      EXPECT_EQ(parsed.calls[i].arguments, whole->tool_calls[i].arguments);
    }
  }
}

TEST(CompletionStream, ReasoningEndsAtItsMarker) {
  const Read parsed = read("a < b </thi </think>so\n\n<b", true);
  EXPECT_EQ(parsed.reasoning, "a < b </thi ");
  EXPECT_EQ(parsed.content, "so\n\n<b");
  EXPECT_EQ(read("never done </thi", true).reasoning, "never done </thi");
}

TEST(CompletionStream, WithoutToolsABlockOfCallsIsContent) {
  const std::string text = written("", {{"now", "{}"}});
  EXPECT_EQ(read(text, false, Calls::kText).content, text);
}

struct Written {
  const char* text;
  const char* content;
  std::vector<ToolCall> calls;
};

void PrintTo(const Written& written, std::ostream* out) {
  *out << written.text;
}

class WholeCalls : public testing::TestWithParam<Written> {};

TEST_P(WholeCalls, AreReadAsModelsWriteThem) {
  const Read parsed = read(GetParam().text);
  EXPECT_EQ(parsed.content, GetParam().content);
  ASSERT_EQ(parsed.calls.size(), GetParam().calls.size()) << parsed.all();
  for (size_t i = 0; i < parsed.calls.size(); ++i) {
    EXPECT_EQ(parsed.calls[i].name, GetParam().calls[i].name);
    EXPECT_EQ(parsed.calls[i].arguments, GetParam().calls[i].arguments);
  }
  EXPECT_EQ(parsed.n_whole, static_cast<int64_t>(parsed.calls.size()));
}

const ToolCall kParis = {"get_weather", R"({"city": "Paris"})"};
const ToolCall kRome = {"get_weather", R"({"city": "Rome"})"};
#define ROME INVOKE "\n" TEXT("city", "Rome") "\n" END_INVOKE

INSTANTIATE_TEST_SUITE_P(
    WhiteSpace,
    WholeCalls,
    testing::Values(
        Written{"Look.\n" BLOCK "\n" PARIS "\n" END_BLOCK, "Look.", {kParis}},
        Written{"Look." BLOCK PARIS END_BLOCK, "Look.", {kParis}},
        Written{BLOCK INVOKE TEXT("city", "Paris") END_INVOKE END_BLOCK "\n", "", {kParis}},
        Written{"\n\n" BLOCK " \r\n\t" PARIS "\n\n  " ROME "\n \n" END_BLOCK, "", {kParis, kRome}},
        Written{"<｜DSML｜function_calls ><｜DSML｜invoke  name = \"get_weather\" >\n"
                "<｜DSML｜parameter\n  name=\"city\"\n  string=\"true\"\n>Paris"
                "</｜DSML｜parameter ></｜DSML｜invoke\n></｜DSML｜function_calls >",
                "",
                {kParis}}));

INSTANTIATE_TEST_SUITE_P(
    Attributes,
    WholeCalls,
    testing::Values(
        Written{BLOCK "<｜DSML｜invoke name='get_weather'><｜DSML｜parameter string=\"true\" "
                      "name=\"city\">Paris</｜DSML｜parameter>" END_INVOKE END_BLOCK,
                "",
                {kParis}},
        Written{BLOCK "<｜DSML｜invoke id=\"1\" name=get_weather><｜DSML｜parameter name=city>Paris"
                      "</｜DSML｜parameter>" END_INVOKE END_BLOCK,
                "",
                {kParis}},
        Written{BLOCK INVOKE "<｜DSML｜parameter name=\"days\">3</｜DSML｜parameter>"
                             "<｜DSML｜parameter name=\"city\">75001</｜DSML｜parameter>"
                             "<｜DSML｜parameter name=\"any\">[1]</｜DSML｜parameter>"
                             "<｜DSML｜parameter name=\"note\">null</｜DSML｜parameter>" END_INVOKE,
                "",
                {{"get_weather", R"({"days": 3, "city": "75001", "any": [1], "note": null})"}}}));

INSTANTIATE_TEST_SUITE_P(
    Values,
    WholeCalls,
    testing::Values(
        Written{BLOCK INVOKE OTHER("days", "3") OTHER("city", "Paris") END_INVOKE END_BLOCK,
                "",
                {{"get_weather", R"({"days": 3, "city": "Paris"})"}}},
        Written{BLOCK INVOKE OTHER("city", "[x] (y") OTHER("any", "{no json") END_INVOKE END_BLOCK,
                "",
                {{"get_weather", R"({"city": "[x] (y", "any": "{no json"})"}}},
        Written{BLOCK INVOKE OTHER("city", "\"Paris\"") END_INVOKE END_BLOCK, "", {kParis}},
        Written{BLOCK INVOKE TEXT("any", "3") TEXT("city", " a < b\n</x>") END_INVOKE END_BLOCK,
                "",
                {{"get_weather", R"({"any": "3", "city": " a < b\n</x>"})"}}},
        Written{BLOCK INVOKE "\n{\"city\": \"Paris\",\n \"days\": 3}\n" END_INVOKE END_BLOCK,
                "",
                {{"get_weather", R"({"city": "Paris", "days": 3})"}}},
        Written{BLOCK INVOKE "{}" END_INVOKE END_BLOCK, "", {{"get_weather", "{}"}}},
        Written{BLOCK INVOKE END_INVOKE END_BLOCK, "", {{"get_weather", "{}"}}},
        Written{BLOCK INVOKE TEXT("city", "Paris") TEXT("note", "x") TEXT("city", "Rome")
                    END_INVOKE END_BLOCK,
                "",
                {{"get_weather", R"({"city": "Rome", "note": "x"})"}}}));

INSTANTIATE_TEST_SUITE_P(
    Blocks,
    WholeCalls,
    testing::Values(
        Written{"Look.\n\n" PARIS "\n", "Look.", {kParis}},
        Written{PARIS "\n" ROME "\n" END_BLOCK, "", {kParis, kRome}},
        Written{BLOCK PARIS END_BLOCK "\n\n" BLOCK ROME END_BLOCK, "", {kParis, kRome}},
        Written{BLOCK PARIS, "", {kParis}},
        Written{"Before.\n\n" BLOCK "\n" END_BLOCK "After.", "Before.\n\nAfter.", {}},
        Written{"Before.\n\n" BLOCK PARIS END_BLOCK "\nAfter.", "Before.\n\nAfter.", {kParis}},
        Written{BLOCK END_BLOCK "\nAfter.", "After.", {}},
        Written{"hm\n\n" BLOCK "\n<｜DSML｜else> and more",
                "hm\n\n" BLOCK "\n<｜DSML｜else> and more",
                {}},
        Written{"The tag " BLOCK " opens a block.", "The tag " BLOCK " opens a block.", {}}));

#define NAMELESS "<｜DSML｜invoke nme=\"get_weather\">\n" END_INVOKE
INSTANTIATE_TEST_SUITE_P(
    BesideMalformedOnes,
    WholeCalls,
    testing::Values(
        Written{"\n\n" BLOCK "\n" PARIS "\n" NAMELESS "\n" ROME "\n" END_BLOCK,
                NAMELESS,
                {kParis, kRome}},
        Written{"x\n\n" BLOCK "\n" NAMELESS "\n" ROME "\n" END_BLOCK,
                "x\n\n" BLOCK "\n" NAMELESS,
                {kRome}},
        // No end of a value, of a call, of both; a parameter without a name.
        Written{BLOCK PARIS INVOKE
                "<｜DSML｜parameter name=\"city\" string=\"true\">Oslo" END_INVOKE ROME END_BLOCK,
                INVOKE "<｜DSML｜parameter name=\"city\" string=\"true\">Oslo" END_INVOKE,
                {kParis, kRome}},
        Written{BLOCK PARIS INVOKE TEXT("city", "Oslo") ROME END_BLOCK,
                INVOKE TEXT("city", "Oslo"),
                {kParis, kRome}},
        Written{BLOCK INVOKE "<｜DSML｜parameter name=\"city\" string=\"true\">Oslo" ROME,
                BLOCK INVOKE "<｜DSML｜parameter name=\"city\" string=\"true\">Oslo",
                {kRome}},
        Written{BLOCK PARIS INVOKE TEXT("days", "3") "<｜DSML｜parameter nme=\"city\">Oslo"
                                                     "</｜DSML｜parameter>" END_INVOKE END_BLOCK,
                INVOKE TEXT("days", "3") "<｜DSML｜parameter nme=\"city\">Oslo"
                                         "</｜DSML｜parameter>" END_INVOKE,
                {kParis}},
        Written{BLOCK PARIS INVOKE "Oslo" END_INVOKE INVOKE "{\"city\": " END_INVOKE END_BLOCK,
                INVOKE "Oslo" END_INVOKE INVOKE "{\"city\": " END_INVOKE,
                {kParis}}));

std::string lines(size_t n) {
  std::string text;
  for (size_t i = 0; i < n; ++i)
    text += "line " + std::to_string(i) + ": \"a\" < b\n";
  return text;
}

#define WRITE_FILE "<｜DSML｜invoke name=\"write_file\">" TEXT("path", "a.txt")

// All texts that end inside a call: the end of the model's turn, or of its tokens.
TEST(CompletionStream, ACallThatIsNotReadWholeIsNeverJson) {
  const std::string text = "\n\n" BLOCK "\n" WRITE_FILE "\n" + std::string(OTHER("edits", "[1]")) +
                           "\n<｜DSML｜parameter name=\"content\" string=\"true\">" + lines(20) +
                           "</｜DSML｜parameter>\n" END_INVOKE "\n";
  const CompletionFormat format{false, Calls::kRead, kTools};
  const size_t named = text.find("write_file\">") + 12;
  const size_t closed = text.find(END_INVOKE) + std::string(END_INVOKE).size();
  for (size_t end = 0; end <= text.size(); ++end) {
    const Read parsed = read(std::string_view(text).substr(0, end), 7, format);
    const bool begun = end >= text.find("function_calls");
    EXPECT_TRUE(parsed.content.empty() || !begun) << end;
    EXPECT_EQ(parsed.n_whole, end < closed ? 0 : 1) << end;
    ASSERT_EQ(parsed.calls.size(), end < named ? 0U : 1U) << end;
    if (parsed.calls.empty()) continue;
    const std::string& arguments = parsed.calls[0].arguments;
    EXPECT_EQ(nlohmann::json::accept(arguments), end >= closed) << arguments;
    EXPECT_EQ(arguments.substr(0, 1), "{") << end;
  }
}

TEST(CompletionStream, AJsonBodyThatIsCutStaysOpen) {
  const std::string text = BLOCK INVOKE "{\"city\": \"Paris\"}\n";
  for (size_t cut = 0; cut < 18; ++cut) {
    const Read parsed = read(std::string_view(text).substr(0, text.size() - cut));
    ASSERT_EQ(parsed.calls.size(), 1U);
    EXPECT_FALSE(nlohmann::json::accept(parsed.calls[0].arguments)) << parsed.all();
    EXPECT_EQ(parsed.n_whole, 0);
  }
}

TEST(CompletionStream, ALongCallThatLeavesTheFormatStaysOpenAndTheNextIsRead) {
  const std::string broken =
      WRITE_FILE "<｜DSML｜parameter name=\"content\" string=\"true\">" + lines(20);
  const Read parsed = read(BLOCK + broken + END_INVOKE PARIS END_BLOCK);
  ASSERT_EQ(parsed.calls.size(), 2U);
  EXPECT_FALSE(nlohmann::json::accept(parsed.calls[0].arguments));
  EXPECT_EQ(parsed.calls[1].arguments, kParis.arguments);
  EXPECT_EQ(parsed.n_whole, 1);
  EXPECT_EQ(parsed.content, END_INVOKE);
}

TEST(CompletionStream, LongArgumentsOfAllKindsAreWhatWasWritten) {
  const std::string text = lines(40);
  const nlohmann::json edits = {{"old", text}, {"list", {1, 2, 3}}};
  const std::string call =
      WRITE_FILE "<｜DSML｜parameter name=\"edits\" string=\"false\">[" + edits.dump() +
      "]</｜DSML｜parameter><｜DSML｜parameter name=\"content\" string=\"false\">" + text +
      "</｜DSML｜parameter><｜DSML｜parameter name=\"more\">[" + text +
      "</｜DSML｜parameter>" END_INVOKE;
  const Read parsed = read(BLOCK + call + END_BLOCK);
  ASSERT_EQ(parsed.calls.size(), 1U);
  EXPECT_EQ(parsed.n_whole, 1);
  EXPECT_EQ(nlohmann::json::parse(parsed.calls[0].arguments),
            (nlohmann::json{{"path", "a.txt"},
                            {"edits", nlohmann::json::array({edits})},
                            {"content", text},
                            {"more", "[" + text}}));
}

TEST(CompletionStream, LongArgumentsArriveAsTheyAreWritten) {
  const std::string open = BLOCK WRITE_FILE;
  for (const bool text : {true, false}) {
    CompletionStream stream({false, Calls::kRead, kTools});
    Read got;
    got.add(stream.push(open + "<｜DSML｜parameter name=\"" + (text ? "content" : "edits") +
                        "\" string=\"" + (text ? "true\">" : "false\">[")));
    std::string sent = text ? "" : "[";
    for (int i = 0; i < 100; ++i) {
      const std::string piece = std::to_string(i) + ",";
      got.add(stream.push(piece));
      sent += piece;
      if (i < 80) continue;
      ASSERT_EQ(got.calls.size(), 1U);
      const std::string& arguments = got.calls[0].arguments;
      EXPECT_EQ(arguments.substr(arguments.size() - sent.size()), sent);
    }
  }
}

TEST(CompletionStream, ACallInsideTheReasoningIsACall) {
  const std::string think = "I should look.\n\n" BLOCK "\n" PARIS "\n" END_BLOCK;
  for (const std::string& end :
       {std::string(), std::string("</think>"), std::string("\n</think>")}) {
    const Read parsed = read(think + end, true);
    EXPECT_EQ(parsed.all(), "[I should look.][] get_weather {\"city\": \"Paris\"} whole 1");
  }
  EXPECT_EQ(read(think + "Wait.</think>Done.", true).all(),
            "[I should look.\n\nWait.][Done.] get_weather {\"city\": \"Paris\"} whole 1");
  // A draft of what is called then is not called twice.
  EXPECT_EQ(read(think + "</think>\n\n" BLOCK ROME END_BLOCK, true).all(),
            "[I should look.][] get_weather {\"city\": \"Rome\"} whole 1");
  // One that the end of reasoning cuts off is no call.
  const Read open = read("So " INVOKE "</think>yes", true);
  EXPECT_EQ(open.all(), "[So " INVOKE "][yes] whole 0");
}

TEST(CompletionStream, CallsThatMayNotBeMadeAreDroppedWithTheirMarkup) {
  const auto dropped = [](const std::string& text) { return read(text, false, Calls::kDropped); };
  EXPECT_EQ(dropped("Look.\n\n" BLOCK "\n" PARIS NAMELESS "\n" END_BLOCK).all(),
            "[][Look.] whole 0");
  EXPECT_EQ(dropped("Look.\n" PARIS "\n" ROME END_BLOCK "Done.").all(), "[][Look.\nDone.] whole 0");
  EXPECT_EQ(dropped("Look." BLOCK INVOKE TEXT("city", "Par")).all(), "[][Look.] whole 0");
  EXPECT_EQ(dropped("a < b").all(), "[][a < b] whole 0");
}

}  // namespace
}  // namespace dsa
