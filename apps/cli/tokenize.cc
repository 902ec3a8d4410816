// dsa tokenize: text to token ids, ids to text, messages to the prompt they become.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "dsa/chat.h"
#include "dsa/tokenizer.h"

#include "cli/command.h"
#include "cli/io.h"
#include "cli/json.h"
#include "cli/json_member.h"
#include "cli/options.h"
#include "cli/tokenize_text.h"

namespace cli {
namespace {

using dsa::Result;
using dsa::Status;
using dsa::StatusCode;

constexpr const char* kFooter =
    "No begin-of-sentence token is added; special tokens spelled out in the text become their\n"
    "ids. --chat reads {\"messages\": [...]} with the optional members \"thinking_mode\": \"chat\" "
    "or\n"
    "\"thinking\" and \"drop_thinking\": true or false.\n"
    "\n"
    "Examples:\n"
    "  dsa tokenize models/dsa-13m -p \"In the beginning\"\n"
    "  dsa tokenize models/dsa-13m --ids \"1 2 3\"\n"
    "  dsa tokenize models/dsa-13m -f book.txt --json\n"
    "  dsa tokenize --chat messages.json\n"
    "  dsa tokenize --train book.txt folder -o tokenizer.json --vocab 4096\n"
    "  dsa tokenize models/dsa-13m --pack book.txt folder -o corpus.tok";

struct TokenizeOptions {
  std::string dir;
  std::optional<std::string> prompt;
  std::optional<std::string> file;
  std::optional<std::string> ids;
  std::optional<std::string> chat;
  std::vector<std::string> train;
  std::vector<std::string> pack;
  TextJob job;
  bool json = false;
};

// Text exactly as it is; on a terminal the line is ended, so that the shell's prompt starts anew.
void print_text(const std::string& text) {
  print(text);
  const bool ended = !text.empty() && text.back() == '\n';
  if (isatty(STDOUT_FILENO) == 1 && !ended) print("\n");
}

std::vector<int32_t> parse_ids(std::string_view text) {
  std::vector<int32_t> ids;
  size_t at = 0;
  while ((at = text.find_first_not_of(" ,\t\n\r[]", at)) != std::string_view::npos) {
    const size_t end = std::min(text.find_first_of(" ,\t\n\r[]", at), text.size());
    int32_t id = 0;
    const auto parsed = std::from_chars(text.data() + at, text.data() + end, id);
    if (parsed.ec != std::errc() || parsed.ptr != text.data() + end) {
      throw UsageError("--ids", fmt::format("\"{}\", want a token id", text.substr(at, end - at)));
    }
    ids.push_back(id);
    at = end;
  }
  return ids;
}

Status show_ids(const TokenizeOptions& options, const dsa::Tokenizer& tokenizer) {
  std::string text = options.prompt.value_or("");
  if (!options.prompt) {
    auto read = read_input(options.file.value_or("-"));
    if (!read.ok()) return read.status();
    text = std::move(*read);
  }
  auto ids = tokenizer.encode(text);
  if (!ids.ok()) return ids.status();
  if (options.json) {
    Json tokens = Json::array();
    for (const int32_t id : *ids)
      tokens.push_back(std::string(tokenizer.token_text(id)));
    print_json({{"n_tokens", ids->size()}, {"ids", *ids}, {"tokens", std::move(tokens)}});
  } else {
    print(fmt::format("{}\n", fmt::join(*ids, " ")));
  }
  return {};
}

Status show_text(const TokenizeOptions& options, const dsa::Tokenizer& tokenizer) {
  const std::vector<int32_t> ids = parse_ids(*options.ids);
  auto text = tokenizer.decode(ids);
  if (!text.ok()) return text.status();
  if (options.json) {
    print_json({{"n_tokens", ids.size()}, {"text", *text}});
  } else {
    print_text(*text);
  }
  return {};
}

// What may stand in a message JSON; the names and prompts of test cases are passed over.
constexpr std::string_view kChatKeys[] = {"messages", "thinking_mode", "drop_thinking", "name",
                                          "prompt"};

// A message JSON: its messages as they are spelled, and the options given with them.
struct ChatFile {
  std::string messages;
  dsa::ChatOptions options;
};

Result<ChatFile> read_chat(const std::string& path) {
  auto text = read_input(path);
  if (!text.ok()) return text.status();
  const std::string name = input_name(path);
  auto document = parse_json(*text, name);
  if (!document.ok()) return document.status();
  if (document->is_array()) return ChatFile{std::move(*text), {}};
  const auto refuse = [&name](const std::string& what) {
    return Status(StatusCode::kCorruption, fmt::format("{}: {}", name, what));
  };
  if (!document->is_object() || !document->contains("messages")) {
    return refuse("want an object with \"messages\", or an array of messages");
  }
  for (const auto& [key, value] : document->items()) {
    if (std::find(std::begin(kChatKeys), std::end(kChatKeys), key) != std::end(kChatKeys)) continue;
    return refuse(
        fmt::format("{:.200}: unknown, want messages, thinking_mode or drop_thinking "
                    "(tools belong into a message)",
                    key));
  }
  ChatFile out;
  // Not written anew from the parsed document: the prompt shows numbers as they are spelled.
  out.messages = json_member(*text, "messages");
  const auto mode = document->value("thinking_mode", nlohmann::ordered_json("chat"));
  if (mode != "chat" && mode != "thinking") {
    return refuse(fmt::format("thinking_mode: {}, want \"chat\" or \"thinking\"", shown(mode)));
  }
  const auto drop = document->value("drop_thinking", nlohmann::ordered_json(true));
  if (!drop.is_boolean()) {
    return refuse(fmt::format("drop_thinking: {}, want true or false", shown(drop)));
  }
  out.options.thinking = mode == "thinking";
  out.options.drop_thinking = drop.get<bool>();
  return out;
}

Status show_prompt(const TokenizeOptions& options) {
  if (!options.dir.empty() && !options.json) {
    throw UsageError("a directory with --chat is used for the ids only: add --json, or omit it");
  }
  auto chat = read_chat(*options.chat);
  if (!chat.ok()) return chat.status();
  auto prompt = dsa::encode_chat(std::string_view(chat->messages), chat->options);
  if (!prompt.ok()) {
    return Status(prompt.status().code(),
                  input_name(*options.chat) + ": " + prompt.status().message());
  }
  if (!options.json) {
    print_text(*prompt);
    return {};
  }
  Json document = {{"prompt", *prompt}};
  if (!options.dir.empty()) {
    auto tokenizer = dsa::Tokenizer::open(options.dir);
    if (!tokenizer.ok()) return tokenizer.status();
    auto ids = tokenizer->encode(*prompt);
    if (!ids.ok()) return ids.status();
    document.set("ids", *ids);
  }
  print_json(document);
  return {};
}

// Whole texts: a tokenizer, or a token file.
Status from_texts(const TokenizeOptions& options) {
  const bool train = !options.train.empty();
  if (options.job.output.empty()) throw UsageError("-o: want the file to write");
  if (train && !options.dir.empty()) {
    throw UsageError("--train creates a tokenizer: it takes no directory");
  }
  if (!train && options.dir.empty()) {
    throw UsageError("--pack needs a directory with a tokenizer.json");
  }
  TextJob job = options.job;
  job.texts = train ? options.train : options.pack;
  return train ? train_tokenizer(job) : pack_texts(job, options.dir);
}

Status tokenize(const TokenizeOptions& options) {
  if (!options.train.empty() || !options.pack.empty()) return from_texts(options);
  if (options.chat) return show_prompt(options);
  if (options.dir.empty()) {
    throw UsageError("a directory with a tokenizer.json is required");
  }
  const bool has_input = options.ids || options.prompt || options.file;
  if (!has_input && stdin_is_terminal()) {
    throw UsageError("an input is required: -p, -f, --ids, --chat or standard input");
  }
  auto tokenizer = dsa::Tokenizer::open(options.dir);
  if (!tokenizer.ok()) return tokenizer.status();
  return options.ids ? show_text(options, *tokenizer) : show_ids(options, *tokenizer);
}

}  // namespace

Action add_tokenize(App& app) {
  auto options = std::make_shared<TokenizeOptions>();
  const auto dir = app.add_option("DIR", options->dir, "Directory with a tokenizer.json");
  app.add_option("-m,--model", options->dir, "The same as DIR").type_name("DIR").excludes(dir);
  const auto prompt =
      app.add_option("-p,--prompt", options->prompt, "Text to tokenize").type_name("TEXT");
  const auto file =
      app.add_option("-f,--file", options->file,
                     "File with text; -: standard input, the default when that is not a "
                     "terminal")
          .type_name("FILE");
  const auto ids =
      app.add_option("--ids", options->ids, "Token ids to turn into text").type_name("\"1 2 3\"");
  const auto chat = app.add_option("--chat", options->chat,
                                   "JSON file with messages to turn into a DeepSeek-V3.2 prompt")
                        .type_name("FILE");
  prompt.excludes(file).excludes(ids).excludes(chat);
  file.excludes(ids).excludes(chat);
  ids.excludes(chat);
  const auto train = app.add_option("--train", options->train,
                                    "Learn a byte-level BPE from these files and folders")
                         .type_name("TEXT...");
  const auto pack = app.add_option("--pack", options->pack,
                                   "Tokenize these files and folders into a file for `dsa train`")
                        .type_name("TEXT...");
  for (const Option input : {prompt, file, ids, chat})
    input.excludes(train).excludes(pack);
  train.excludes(pack);
  app.add_option("-o,--output", options->job.output, "File that --train or --pack writes")
      .type_name("FILE");
  app.add_option("--vocab", options->job.vocab_size,
                 "Vocabulary size that --train learns, at least 264")
      .check(whole_number(264, 1 << 20))
      .show_default()
      .needs(train);
  app.add_option("--min-count", options->job.min_count,
                 "How often --train must see a pair to merge it")
      .check(whole_number(1))
      .show_default()
      .needs(train);
  app.add_option("--separator", options->job.separator,
                 "Line at which --pack ends a document within a file")
      .type_name("LINE")
      .needs(pack);
  app.add_flag("-q,--quiet", options->job.quiet, "Print no report of --train and --pack");
  add_json_option(app, options->json);
  app.footer(kFooter);
  return [options] { return tokenize(*options); };
}

}  // namespace cli
