// dsa run: text from a prompt, or a conversation.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <memory>
#include <utility>

#include "dsa/chat.h"

#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/io.h"
#include "cli/json.h"
#include "cli/run_options.h"
#include "cli/run_report.h"
#include "cli/text.h"

namespace cli {
namespace {

using dsa::Result;
using dsa::Status;
using dsa::StatusCode;

constexpr int64_t kDefaultMaxTokens = 256;
constexpr int64_t kDefaultChatContext = 8192;

constexpr const char* kFooter =
    "Sampling options that are not given come from DIR/generation_config.json (do_sample,\n"
    "temperature, top_p, top_k); without that file sampling is greedy.\n"
    "One line break at the end of a prompt from a file or standard input is dropped.\n"
    "\n"
    "Examples:\n"
    "  dsa run -m models/dsa-13m -p \"In the beginning\" -n 64\n"
    "  dsa run -m models/dsa-13m -f prompt.txt --temperature 0 --explain 5\n"
    "  head -c 3000 book.txt | dsa run -m models/dsa-13m --json\n"
    "  dsa run -m DIR --chat --system \"Be brief.\" --thinking";

void add_sampling_options(App& app, SamplingOptions& sampling) {
  const char* group = "Sampling";
  app.add_option("--temperature", sampling.temperature, "Sampling temperature; 0: greedy")
      .type_name("T")
      .group(group);
  app.add_option("--top-p", sampling.top_p,
                 "Sample from the fewest tokens whose probabilities sum to P")
      .type_name("P")
      .group(group);
  app.add_option("--top-k", sampling.top_k, "Sample from the K most likely tokens; 0: all")
      .type_name("K")
      .check(whole_number(0))
      .group(group);
  app.add_option("--min-p", sampling.min_p,
                 "Sample from tokens at least P times as likely as the most likely")
      .type_name("P")
      .group(group);
  app.add_option("--repeat-penalty", sampling.repeat_penalty,
                 "Penalty on tokens among the last 64; 1: none")
      .type_name("R")
      .group(group);
  app.add_option("--seed", sampling.seed, "Seed of the sampler (default: a random one)")
      .type_name("N")
      .check(whole_number(0, std::numeric_limits<int64_t>::max()))
      .group(group);
}

void add_prompt_options(App& app, RunOptions& options) {
  const auto prompt = app.add_option("-p,--prompt", options.prompt, "The prompt").type_name("TEXT");
  const auto file =
      app.add_option("-f,--file", options.file,
                     "File with the prompt; -: standard input, the default when that is "
                     "not a terminal")
          .type_name("FILE");
  const auto chat =
      app.add_flag("--chat", options.chat, "Hold a conversation; each input line is a message");
  app.add_option("--system", options.system, "System message of the chat")
      .type_name("TEXT")
      .needs(chat);
  app.add_flag("--thinking", options.thinking, "Let the model reason before it answers")
      .needs(chat);
  prompt.excludes(file).excludes(chat);
  file.excludes(chat);
}

void add_output_options(App& app, RunOptions& options) {
  app.add_option("-n,--max-tokens", options.max_tokens,
                 fmt::format("Tokens to generate (default {}; in a chat what the context leaves)",
                             kDefaultMaxTokens))
      .type_name("N")
      .check(whole_number(1));
  app.add_option("--stop", options.stop, "Stop before this text; may be given several times")
      .type_name("TEXT")
      .one_each();
  app.add_option("--ctx", options.ctx,
                 fmt::format("Context in tokens (default: the prompt and -n; in a chat {}; at most "
                             "the model's)",
                             group_digits(kDefaultChatContext)))
      .type_name("N")
      .check(whole_number(2));
  app.add_option(
         "--explain", options.explain,
         "For the last position, list the N selected tokens with the highest indexer scores in "
         "every layer")
      .type_name("N")
      .check(whole_number(1));
  app.add_flag("-q,--quiet", options.quiet, "Print only the text and errors");
  add_json_option(app, options.json);
}

Result<std::string> read_prompt(const RunOptions& options) {
  if (options.prompt) return *options.prompt;
  auto text = read_input(options.file.value_or("-"));
  if (text.ok() && !text->empty() && text->back() == '\n') text->pop_back();
  return text;
}

Status prompt_does_not_fit(int64_t n_prompt, int64_t context, int64_t max_position) {
  return Status(
      StatusCode::kInvalidArgument,
      fmt::format("prompt: {} tokens, want at most {} in a context of {} (--ctx; the model was "
                  "made for {})",
                  group_digits(n_prompt), group_digits(context - 1), group_digits(context),
                  group_digits(max_position)));
}

// The context: what was asked for, or what prompt and answer need up to the model's limit.
Result<int64_t> choose_context(const RunOptions& options, int64_t n_prompt, int64_t max_position) {
  int64_t context = options.ctx;
  if (context == 0) context = std::min(n_prompt + options.max_tokens, max_position);
  if (n_prompt >= context) return prompt_does_not_fit(n_prompt, context, max_position);
  return context;
}

void show_piece(std::string_view text) {
  print(text);
  (void)flush_stdout();  // a failure is kept and reported at the end
}

void finish_run(const RunOptions& options,
                const Runner& runner,
                const GeneratedText& generation,
                std::span<const int32_t> all_ids) {
  const dsa::Tokenizer& tokenizer = runner.text.tokenizer;
  if (options.json) {
    Json document = {{"model", options.model.dir}};
    document.update(generation_json(generation));
    document.update(runner_json(runner));
    if (runner.explain) document.set("explain", runner.explain->json(tokenizer, all_ids));
    print_json(document);
    return;
  }
  show_piece("\n");
  if (runner.explain) show_piece("\n" + runner.explain->table(tokenizer, all_ids));
  if (!options.quiet) note("\n" + report_text(runner, generation));
}

Status complete_prompt(const RunOptions& options, Runner& runner) {
  auto text = read_prompt(options);
  if (!text.ok()) return text.status();
  if (interrupted()) return Status();
  auto prompt = encode_prompt(runner.text, *text);
  if (!prompt.ok()) return prompt.status();
  if (prompt->empty()) {
    return Status(StatusCode::kInvalidArgument, "prompt: is empty, want at least one token");
  }
  const int64_t max_position = runner.text.model->config().max_position;
  auto context = choose_context(options, static_cast<int64_t>(prompt->size()), max_position);
  if (!context.ok()) return context.status();
  runner.context = *context;
  if (auto status = start_engine(options, runner); !status.ok()) return status;
  const GenerateOptions generate = generate_options(options, runner);
  const auto show = [json = options.json](std::string_view piece) {
    if (!json) show_piece(piece);
  };
  auto generation = runner.generator->generate(*prompt, generate, show);
  if (!generation.ok()) return generation.status();
  std::vector<int32_t> all_ids = *prompt;
  all_ids.insert(all_ids.end(), generation->ids.begin(), generation->ids.end());
  finish_run(options, runner, *generation, all_ids);
  return Status();
}

// Everything but the context and what depends on it.
Result<Runner> load(const RunOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  auto text = load_text_model(options.model.dir, options.model.config);
  if (!text.ok()) return text.status();
  const dsa::ModelConfig& config = text->model->config();
  auto generation = read_generation_config(options.model.dir, config.vocab_size);
  if (!generation.ok()) return generation.status();
  std::vector<int32_t> end_ids = config.eos_token_ids;
  end_ids.insert(end_ids.end(), generation->end_ids.begin(), generation->end_ids.end());
  const auto sampling = sampler_options(options.sampling, generation->sampling);
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  return Runner{std::move(*text), sampling, std::move(end_ids), 0, elapsed.count(), {}, {}, {}};
}

Status run(RunOptions options) {
  if (!options.chat && !options.prompt && !options.file && stdin_is_terminal()) {
    throw UsageError("a prompt is required: -p TEXT, -f FILE, --chat or standard input");
  }
  auto runner = load(options);
  if (!runner.ok()) return runner.status();
  const dsa::Model& model = *runner->text.model;
  if (options.chat) {
    const Status known =
        dsa::check_chat_encoding(model.config().model_type, runner->text.tokenizer);
    if (!known.ok()) {
      return Status(known.code(), "--chat: " + known.message() + " (dsa run -p or -f)");
    }
  }
  if (!options.quiet) warn_of_long_context("dsa run", model, options.ctx);
  if (!options.chat) {
    if (options.max_tokens == 0) options.max_tokens = kDefaultMaxTokens;
    return complete_prompt(options, *runner);
  }
  runner->context =
      options.ctx > 0 ? options.ctx : std::min(model.config().max_position, kDefaultChatContext);
  if (options.max_tokens == 0) options.max_tokens = runner->context;
  if (auto status = start_engine(options, *runner); !status.ok()) return status;
  return chat(options, *runner);
}

}  // namespace

Action add_run(App& app) {
  auto options = std::make_shared<RunOptions>();
  app.add_option("-m,--model", options->model.dir, "Checkpoint directory")
      .type_name("DIR")
      .required();
  add_prompt_options(app, *options);
  add_output_options(app, *options);
  add_model_options(app, options->model);
  add_sampling_options(app, options->sampling);
  app.footer(kFooter);
  return [options] { return run(*options); };
}

}  // namespace cli
