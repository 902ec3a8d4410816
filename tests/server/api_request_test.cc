#include "server/api_request.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace server {
namespace {

const ModelInfo& model() {
  static const ModelInfo kModel = [] {
    ModelInfo info;
    info.name = "baby";
    auto tokenizer = dsa::Tokenizer::open(DSA_SOURCE_DIR "/tests/checkpoints/baby-v32");
    EXPECT_TRUE(tokenizer.ok());
    info.tokenizer = std::make_shared<const dsa::Tokenizer>(std::move(*tokenizer));
    info.vocab_size = 2048;
    info.max_context = 1024;
    info.sampling.temperature = 0.8F;
    info.end_ids = {1, 7};
    return info;
  }();
  return kModel;
}

ApiRequestOr chat(const std::string& fields) {
  const std::string text = R"({"messages":[{"role":"user","content":"Hi"}])" +
                           (fields.empty() ? "" : "," + fields) + "}";
  return read_chat_request(*parse_json(text), model(), {});
}

ApiRequestOr completion(const std::string& fields) {
  return read_completion_request(*parse_json(R"({"prompt":"x",)" + fields + "}"), model(), {});
}

ApiRequest good(const ApiRequestOr& read) {
  if (const auto* error = std::get_if<ApiError>(&read)) {
    ADD_FAILURE() << error->message;
    return {};
  }
  return std::get<ApiRequest>(read);
}

std::string param(const ApiRequestOr& read) {
  const auto* error = std::get_if<ApiError>(&read);
  EXPECT_NE(error, nullptr);
  return error == nullptr ? "" : error->param;
}

TEST(ApiRequest, WhatIsNotGivenIsTheModelsOrTheApisDefault) {
  const ApiRequest request = good(chat(""));
  EXPECT_TRUE(request.chat);
  EXPECT_EQ(request.n, 1);
  EXPECT_EQ(request.max_tokens, std::nullopt);
  EXPECT_EQ(request.end_ids, (std::vector<int32_t>{1, 7}));
  EXPECT_EQ(request.sampler.temperature, 0.8F);
  EXPECT_EQ(request.n_logprobs, -1);
  EXPECT_FALSE(request.stream);
  EXPECT_FALSE(request.grammar.has_value());
  const auto plain = good(read_completion_request(*parse_json(R"({"prompt":"x"})"), model(), {}));
  EXPECT_EQ(plain.max_tokens, 16);
}

TEST(ApiRequest, ChatsAreRefusedWhereTheModelsEncodingIsNotKnown) {
  ModelInfo glm = model();
  glm.chat =
      dsa::Status(dsa::StatusCode::kUnsupported, "model_type: \"glm_moe_dsa\", want another");
  const auto body = parse_json(R"({"messages":[{"role":"user","content":"Hi"}]})");
  const ApiRequestOr read = read_chat_request(*body, glm, {});
  EXPECT_EQ(param(read), "messages");
  EXPECT_EQ(std::get<ApiError>(read).status, 400);
  EXPECT_EQ(std::get<ApiError>(read).message,
            "messages: model_type: \"glm_moe_dsa\", want another (/v1/completions)");
  good(read_completion_request(*parse_json(R"({"prompt":"x"})"), glm, {}));
}

TEST(ApiRequest, FieldsThatAreNullCountAsAbsent) {
  const ApiRequest request = good(chat(
      R"("temperature":null,"stop":null,"tools":null,"logit_bias":null,"n":null,"seed":null)"));
  EXPECT_EQ(request.n, 1);
  EXPECT_TRUE(request.stop.empty());
}

TEST(ApiRequest, TheNewNameOfMaxTokensGoesFirst) {
  EXPECT_EQ(good(chat(R"("max_tokens":3)")).max_tokens, 3);
  EXPECT_EQ(good(chat(R"("max_tokens":3,"max_completion_tokens":5)")).max_tokens, 5);
}

TEST(ApiRequest, SamplingFieldsReachTheSampler) {
  const ApiRequest request = good(chat(
      R"("temperature":0,"top_p":0.5,"top_k":7,"min_p":0.1,"presence_penalty":1,
      "frequency_penalty":-1,"repetition_penalty":1.5,"seed":-3,"logit_bias":{"5":-100,"6":2.5})"));
  EXPECT_EQ(request.sampler.temperature, 0.0F);
  EXPECT_EQ(request.sampler.top_p, 0.5F);
  EXPECT_EQ(request.sampler.top_k, 7);
  EXPECT_EQ(request.sampler.presence_penalty, 1.0F);
  EXPECT_EQ(request.sampler.frequency_penalty, -1.0F);
  EXPECT_EQ(request.sampler.seed, static_cast<uint64_t>(-3));
  ASSERT_EQ(request.sampler.logit_bias.size(), 2U);
  EXPECT_EQ(request.sampler.logit_bias[1].second, 2.5F);
}

TEST(ApiRequest, ATopPOfZeroTakesTheLikeliestToken) {
  EXPECT_GT(good(chat(R"("top_p":0)")).sampler.top_p, 0.0F);
}

TEST(ApiRequest, WaysToAskForReasoning) {
  EXPECT_FALSE(good(chat("")).format.thinking);
  EXPECT_TRUE(good(chat(R"("reasoning_effort":"low")")).format.thinking);
  EXPECT_FALSE(good(chat(R"("reasoning_effort":"none")")).format.thinking);
  EXPECT_TRUE(good(chat(R"("thinking":{"type":"enabled"})")).format.thinking);
  EXPECT_TRUE(good(chat(R"("chat_template_kwargs":{"thinking":true})")).format.thinking);
  EXPECT_FALSE(good(chat(R"("reasoning_effort":"high","chat_template_kwargs":{"thinking":false})"))
                   .format.thinking);
  EXPECT_EQ(param(chat(R"("reasoning_effort":"huge")")), "reasoning_effort");
  EXPECT_EQ(param(chat(R"("chat_template_kwargs":{"x":1})")), "chat_template_kwargs.x");
}

constexpr const char* kTools =
    R"("tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}])";

TEST(ApiRequest, ToolsChangeThePromptUnlessNoneMayBeCalled) {
  const size_t plain = good(chat("")).prompts[0].size();
  const ApiRequest with_tools = good(chat(kTools));
  EXPECT_GT(with_tools.prompts[0].size(), plain);
  EXPECT_EQ(with_tools.format.calls, dsa::CompletionFormat::Calls::kRead);
  EXPECT_FALSE(with_tools.grammar.has_value());
  const ApiRequest none = good(chat(std::string(kTools) + R"(,"tool_choice":"none")"));
  EXPECT_EQ(none.prompts[0].size(), plain);
  EXPECT_EQ(none.format.calls, dsa::CompletionFormat::Calls::kDropped);
  const ApiRequest required = good(chat(std::string(kTools) + R"(,"tool_choice":"required")"));
  EXPECT_TRUE(required.grammar.has_value());
}

TEST(ApiRequest, AnEmptyListOfToolsIsNone) {
  const size_t plain = good(chat("")).prompts[0].size();
  const ApiRequest request = good(chat(R"("tools":[],"tool_choice":"auto","logit_bias":[])"));
  EXPECT_EQ(request.prompts[0].size(), plain);
  EXPECT_EQ(request.format.calls, dsa::CompletionFormat::Calls::kText);
  good(chat(R"("tools":[],"tool_choice":"none","parallel_tool_calls":true)"));
  EXPECT_EQ(param(chat(R"("tools":[],"tool_choice":"required")")), "tool_choice");
  EXPECT_EQ(param(chat(R"("tools":{})")), "tools");
}

TEST(ApiRequest, AMessageIsNamedByItsPlaceInTheRequestAlsoBesideTools) {
  const std::string text = R"({"messages":[{"role":"user","content":"a"},{"role":"tool",
      "content":"b"}],)" + std::string(kTools) +
                           "}";
  EXPECT_EQ(param(read_chat_request(*parse_json(text), model(), {})), "messages[1].role");
}

std::string prompt_of(const std::string& messages, const std::string& fields = "") {
  const std::string text = "{\"messages\":[" + messages + "]" + fields + "}";
  const ApiRequest request = good(read_chat_request(*parse_json(text), model(), {}));
  std::string prompt;
  if (request.prompts.empty()) return prompt;
  for (const int32_t id : request.prompts[0])
    prompt += model().tokenizer->token_text(id);
  return prompt;
}

std::string param_of(const std::string& messages, const std::string& fields = "") {
  const std::string text = "{\"messages\":[" + messages + "]" + fields + "}";
  return param(read_chat_request(*parse_json(text), model(), {}));
}

constexpr const char* kUser = R"({"role":"user","content":"x"})";

TEST(ApiRequest, FieldsOfMessagesThatSayNothingToTheModelArePassedOver) {
  const std::string user = kUser;
  const std::string plain = prompt_of(user + R"(,{"role":"assistant","content":"y"},)" + user);
  for (const char* extra :
       {R"("name":"a")", R"("cache_control":{"type":"ephemeral"})",
        R"("reasoning_details":[{"a":1}])", R"("thinking_blocks":[])",
        R"("provider_specific_fields":{"a":1})", R"("refusal":null)", R"("audio":null)",
        R"("function_call":null)", R"("annotations":[{"type":"url"}])", R"("tool_calls":[])",
        R"("tool_calls":null)", R"("prefix":false)", R"("images":[])", R"("anything":null)",
        R"("reasoning":null)", R"("id":"msg_1")"}) {
    EXPECT_EQ(prompt_of(user + R"(,{"role":"assistant","content":"y",)" + extra + "}," + user),
              plain)
        << extra;
  }
  for (const char* extra : {"refusal", "audio", "function_call", "images", "contents"}) {
    EXPECT_EQ(
        param_of(user + R"(,{"role":"assistant","content":"y",")" + extra + R"(":"z"},)" + user),
        std::string("messages[1].") + extra);
  }
}

TEST(ApiRequest, PartsOfContentAreLinesOfOneText) {
  const std::string begin = R"({"role":"user","content":)";
  EXPECT_EQ(prompt_of(begin + R"([{"type":"text","text":"a","cache_control":{}},
                      {"type":"input_text","text":"b"},"c",{"type":"text","text":""}]})"),
            prompt_of(begin + R"("a\nb\nc"})"));
  EXPECT_EQ(prompt_of(begin + "[]}"), prompt_of(begin + R"(""})"));
  EXPECT_EQ(param_of(begin + R"([{"type":"image_url","image_url":{}}]})"), "messages[0].content");
  EXPECT_EQ(param_of(begin + "null}"), "messages[0].content");
}

TEST(ApiRequest, ADeveloperMessageIsASystemMessageWhereverItStands) {
  const std::string user = kUser;
  const std::string late = prompt_of(user + R"(,{"role":"developer","content":"be brief"})");
  EXPECT_EQ(late, prompt_of(user + R"(,{"role":"system","content":"be brief"})"));
  EXPECT_LT(late.find("be brief"), late.find("<｜Assistant｜>"));
}

TEST(ApiRequest, AnAssistantMessageAtTheEndIsContinuedOnlyWhenAsked) {
  const std::string begin = std::string(kUser) + R"(,{"role":"assistant","content":"God made")";
  const std::string end = "</think>God made";
  const auto continues = [&](const std::string& prompt) {
    return prompt.substr(prompt.size() - end.size()) == end;
  };
  EXPECT_FALSE(continues(prompt_of(begin + "}")));
  EXPECT_TRUE(continues(prompt_of(begin + R"(,"prefix":true})")));
  EXPECT_TRUE(continues(prompt_of(begin + "}", R"(,"continue_final_message":true)")));
  EXPECT_TRUE(continues(
      prompt_of(begin + "}", R"(,"continue_final_message":true,"add_generation_prompt":false)")));
  const std::string text = "{\"messages\":[" + begin + R"(,"prefix":true}],"thinking":{"type":
      "enabled"}})";
  EXPECT_FALSE(good(read_chat_request(*parse_json(text), model(), {})).format.thinking);
  EXPECT_EQ(param_of(begin + R"(,"prefix":true},)" + kUser), "messages[1].prefix");
  EXPECT_EQ(param_of(kUser, R"(,"continue_final_message":true)"), "continue_final_message");
  EXPECT_EQ(param_of(kUser, R"(,"add_generation_prompt":false)"), "add_generation_prompt");
  EXPECT_EQ(param_of(begin + "}", R"(,"continue_final_message":true,"add_generation_prompt":true)"),
            "add_generation_prompt");
  EXPECT_EQ(param_of(begin + R"(,"prefix":true})", R"(,"response_format":{"type":"json_object"})"),
            "response_format");
}

TEST(ApiRequest, ResultsOfToolsAnswerTheCallOfTheirId) {
  const std::string begin =
      std::string(kUser) + R"(,{"role":"assistant","content":null,"tool_calls":
      [{"id":"a","type":"function","function":{"name":"f","arguments":""}},
       {"id":"b","type":"function","function":{"name":"f","arguments":"{\"x\": "}}]},)";
  const std::string a = R"({"role":"tool","tool_call_id":"a","content":"1"})";
  const std::string b = R"({"role":"tool","tool_call_id":"b","content":null})";
  EXPECT_EQ(prompt_of(begin + b + "," + a), prompt_of(begin + a + "," + b));
  EXPECT_EQ(param_of(begin + a), "messages[1].tool_calls");
  EXPECT_EQ(param_of(begin + a + R"(,{"role":"tool","tool_call_id":"c","content":"1"})"),
            "messages[3].tool_call_id");
}

TEST(ApiRequest, ChoicesAreCountedOverAllPrompts) {
  ApiLimits limits;
  limits.max_choices = 4;
  const auto read = [&](const char* text) {
    return read_completion_request(*parse_json(text), model(), limits);
  };
  EXPECT_EQ(good(read(R"({"prompt":["a","b"],"n":2})")).prompts.size(), 2U);
  EXPECT_EQ(param(read(R"({"prompt":["a","b"],"n":3})")), "n");
  EXPECT_EQ(param(read(R"({"prompt":["a","b","c","d","e"]})")), "prompt");
}

TEST(ApiRequest, PromptsOfIdsAreChecked) {
  const auto read = [&](const char* text) {
    return read_completion_request(*parse_json(text), model(), {});
  };
  EXPECT_EQ(good(read(R"({"prompt":[1,2,2047]})")).prompts[0], (std::vector<int32_t>{1, 2, 2047}));
  for (const char* wrong : {R"({"prompt":[2048]})", R"({"prompt":[-1]})", R"({"prompt":[1.5]})",
                            R"({"prompt":[1,"a"]})", R"({"prompt":[[1],2]})", R"({"prompt":[]})",
                            R"({"prompt":""})", R"({"prompt":[[]]})", R"({"prompt":{}})", "{}"}) {
    EXPECT_EQ(param(read(wrong)), "prompt") << wrong;
  }
}

TEST(ApiRequest, EveryFieldThatIsNotKnownIsRefused) {
  EXPECT_EQ(param(chat(R"("functions":[])")), "functions");
  EXPECT_EQ(param(chat(R"("web_search_options":{})")), "web_search_options");
  EXPECT_EQ(param(chat(R"("stream":true,"stream_options":{"x":1})")), "stream_options.x");
  EXPECT_EQ(param(chat(R"("guided_regex":"a")")), "guided_regex");
  EXPECT_EQ(param(completion(R"("truncate_prompt_tokens":5)")), "truncate_prompt_tokens");
}

TEST(ApiRequest, FieldsWithoutEffectStopNobody) {
  for (const char* fields :
       {R"("user":"me","metadata":{"a":"b"},"store":true,"service_tier":"auto")",
        R"("safety_identifier":"x","prompt_cache_key":"k","modalities":["text"])",
        R"("keep_alive":"5m","num_ctx":2048,"num_thread":2,"repeat_penalty":1,"repeat_last_n":64)",
        R"("cache_prompt":true,"id_slot":-1,"mirostat":0,"mirostat_tau":5,"typical_p":1.0)",
        R"("priority":3,"skip_special_tokens":true,"use_beam_search":false,"length_penalty":2)",
        R"("top_logprobs":0,"best_of":1.0,"echo":false,"guided_json":null,"no_such_field":null)"}) {
    good(chat(fields));
  }
  good(completion(R"("suffix":"","best_of":2,"n":2,"logprobs":false)"));
}

TEST(ApiRequest, FieldsThatChangeAnAnswerAreRefusedUnlessTheirValueDoesNot) {
  for (const auto& [fields, name] : std::vector<std::pair<const char*, const char*>>{
           {R"("mirostat":2)", "mirostat"},
           {R"("typical_p":0.9)", "typical_p"},
           {R"("skip_special_tokens":false)", "skip_special_tokens"},
           {R"("suffix":"end")", "suffix"},
           {R"("verbosity":"low")", "verbosity"},
           {R"("best_of":3)", "best_of"},
           {R"("repeat_penalty":1.1,"repeat_last_n":64)", "repeat_last_n"}}) {
    EXPECT_EQ(param(completion(fields)), name) << fields;
  }
}

TEST(ApiRequest, ValuesThatMeanOffAreOff) {
  EXPECT_EQ(good(chat(R"("top_k":-1)")).sampler.top_k, 0);
  EXPECT_EQ(good(chat(R"("top_k":1e12)")).sampler.top_k, 2147483647);
  EXPECT_EQ(good(chat(R"("max_tokens":-1)")).max_tokens, std::nullopt);
  EXPECT_EQ(good(completion(R"("max_tokens":-1)")).max_tokens, std::nullopt);
  EXPECT_EQ(good(completion(R"("max_tokens":null)")).max_tokens, 16);
  EXPECT_TRUE(good(chat(R"("stop":"")")).stop.empty());
  EXPECT_TRUE(good(chat(R"("stop":[])")).stop.empty());
  EXPECT_EQ(good(chat(R"("stop":["","a"])")).stop, std::vector<std::string>{"a"});
  EXPECT_NE(good(chat(R"("seed":-1)")).sampler.seed, good(chat(R"("seed":-1)")).sampler.seed);
  EXPECT_EQ(param(chat(R"("top_k":-2)")), "top_k");
  EXPECT_EQ(param(chat(R"("max_tokens":0)")), "max_tokens");
  EXPECT_EQ(param(chat(R"("max_tokens":-2)")), "max_tokens");
  EXPECT_EQ(param(chat(R"("top_p":-1)")), "top_p");
}

TEST(ApiRequest, WholeNumbersMayBeWrittenAsFloats) {
  const ApiRequest request = good(completion(
      R"("max_tokens":4.0,"n":2.0,"top_k":40.0,"seed":7.0,"logprobs":3.0,"min_tokens":2.0)"));
  EXPECT_EQ(request.max_tokens, 4);
  EXPECT_EQ(request.n, 2);
  EXPECT_EQ(request.sampler.top_k, 40);
  EXPECT_EQ(request.sampler.seed, 7U);
  EXPECT_EQ(request.n_logprobs, 3);
  EXPECT_EQ(request.min_tokens, 2);
  EXPECT_EQ(
      good(read_completion_request(*parse_json(R"({"prompt":[1.0,2e0]})"), model(), {})).prompts[0],
      (std::vector<int32_t>{1, 2}));
  EXPECT_EQ(param(chat(R"("max_tokens":4.5)")), "max_tokens");
  EXPECT_EQ(param(chat(R"("n":1e300)")), "n");
  EXPECT_EQ(param(chat(R"("seed":1e19)")), "seed");
}

TEST(ApiRequest, WhatIsLargerThanTheContextIsAsMuchAsItLeaves) {
  for (const char* most : {"1000000000", "1e30", "18446744073709551615"})
    EXPECT_GE(good(chat("\"max_tokens\":" + std::string(most))).max_tokens, 1000000000);
}

TEST(ApiRequest, ASeedIsAnyNumberOf64Bits) {
  EXPECT_EQ(good(chat(R"("seed":18446744073709551615)")).sampler.seed, ~uint64_t{0});
  EXPECT_EQ(param(chat(R"("seed":"x")")), "seed");
}

TEST(ApiRequest, LogprobsOfCompletionsMayBeAFlag) {
  EXPECT_EQ(good(completion(R"("logprobs":true)")).n_logprobs, 1);
  EXPECT_EQ(good(completion(R"("logprobs":false)")).n_logprobs, -1);
  EXPECT_EQ(good(completion(R"("logprobs":0)")).n_logprobs, 0);
  EXPECT_EQ(param(completion(R"("logprobs":21)")), "logprobs");
  EXPECT_EQ(good(chat(R"("logprobs":1,"top_logprobs":2)")).n_logprobs, 2);
}

TEST(ApiRequest, WhatIsAskedOfThePromptItself) {
  const ApiRequest request = good(completion(R"("echo":true,"logprobs":1,"max_tokens":0)"));
  EXPECT_TRUE(request.echo);
  EXPECT_EQ(request.max_tokens, 0);
  EXPECT_EQ(good(completion(R"("prompt_logprobs":0)")).n_prompt_logprobs, 0);
  EXPECT_EQ(good(chat(R"("prompt_logprobs":5)")).n_prompt_logprobs, 5);
  EXPECT_EQ(good(chat("")).n_prompt_logprobs, -1);
  EXPECT_EQ(param(completion(R"("prompt_logprobs":1,"stream":true)")), "prompt_logprobs");
  EXPECT_EQ(param(completion(R"("prompt_logprobs":-1)")), "prompt_logprobs");
  EXPECT_EQ(param(chat(R"("echo":true)")), "echo");
}

TEST(ApiRequest, TokensBeforeATextAreLeftOutOnRequest) {
  ModelInfo prefixed = model();
  prefixed.prefix = {0};
  const auto prompts = [&](const char* text) {
    return good(read_completion_request(*parse_json(text), prefixed, {}));
  };
  const ApiRequest request = prompts(R"({"prompt":["a","b"]})");
  EXPECT_EQ(request.n_prefix, 1U);
  EXPECT_EQ(request.prompts[1][0], 0);
  const ApiRequest plain = prompts(R"({"prompt":"a","add_special_tokens":false})");
  EXPECT_EQ(plain.n_prefix, 0U);
  EXPECT_EQ(plain.prompts[0].size() + 1, request.prompts[0].size());
  EXPECT_EQ(prompts(R"({"prompt":[[1,2],[3,4]]})").prompts,
            (std::vector<std::vector<int32_t>>{{1, 2}, {3, 4}}));
  EXPECT_EQ(prompts(R"({"prompt":[[1,2],[3,4]]})").n_prefix, 0U);
}

TEST(ApiRequest, OtherNamesOfMaxTokensAndRepetitionPenaltyAreUnderstood) {
  EXPECT_EQ(good(completion(R"("n_predict":3)")).max_tokens, 3);
  EXPECT_EQ(good(chat(R"("num_predict":3)")).max_tokens, 3);
  EXPECT_EQ(good(chat(R"("num_predict":3,"max_tokens":5)")).max_tokens, 5);
  EXPECT_EQ(good(chat(R"("repeat_penalty":1.25)")).sampler.repeat_penalty, 1.25F);
}

TEST(ApiRequest, WhichTokensEndAnAnswer) {
  const ApiRequest endless = good(completion(R"("ignore_eos":true)"));
  EXPECT_TRUE(endless.end_ids.empty());
  EXPECT_EQ(endless.silent_ids, (std::vector<int32_t>{1, 7}));
  EXPECT_EQ(good(completion(R"("stop_token_ids":[9])")).end_ids, (std::vector<int32_t>{1, 7, 9}));
  EXPECT_EQ(good(completion(R"("stop_token_ids":[9],"ignore_eos":true)")).end_ids,
            std::vector<int32_t>{9});
  EXPECT_EQ(param(completion(R"("stop_token_ids":[2048])")), "stop_token_ids");
  EXPECT_EQ(param(completion(R"("stop_token_ids":"a")")), "stop_token_ids");
  const std::string json = R"("response_format":{"type":"json_object"},)";
  EXPECT_EQ(param(chat(json + R"("ignore_eos":true)")), "ignore_eos");
  EXPECT_EQ(param(chat(json + R"("min_tokens":1)")), "min_tokens");
}

TEST(ApiRequest, UsageInEveryChunkIsPartOfUsage) {
  const auto request = good(chat(
      R"("stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true})"));
  EXPECT_TRUE(request.include_usage && request.continuous_usage);
  EXPECT_FALSE(good(chat(R"("stream":true,"stream_options":{"continuous_usage_stats":true})"))
                   .continuous_usage);
  EXPECT_EQ(param(chat(R"("stream_options":{"include_usage":true})")), "stream_options");
}

TEST(ApiRequest, AnyNameOfTheModelIsTakenAndNoOther) {
  ModelInfo named = model();
  named.aliases = {"gpt-4o", "people/model"};
  const auto read = [&](const char* name) {
    const Json body = {{"prompt", "x"}, {"model", name}};
    return read_completion_request(body, named, {});
  };
  for (const char* name : {"baby", "gpt-4o", "people/model", ""})
    good(read(name));
  const auto error = std::get<ApiError>(read("gpt-4"));
  EXPECT_EQ(error.status, 404);
  EXPECT_EQ(error.message, R"(model: "gpt-4", want "baby" or "gpt-4o" or "people/model")");
}

TEST(ParseJson, RefusesDepthAndBadTextWithShortMessages) {
  EXPECT_FALSE(parse_json(std::string(200, '[') + std::string(200, ']')).ok());
  EXPECT_TRUE(parse_json(std::string(100, '[') + std::string(100, ']')).ok());
  const auto bad = parse_json("{\"a\": \"" + std::string(100000, 'x'));
  ASSERT_FALSE(bad.ok());
  EXPECT_LT(bad.status().message().size(), 400U);
  EXPECT_FALSE(parse_json("{\"a\":1e999}").ok());
  EXPECT_FALSE(parse_json("\"\xFF\"").ok());
}

TEST(ApiError, StatusCodesBecomeThoseOfHttp) {
  using dsa::Status;
  using dsa::StatusCode;
  EXPECT_EQ(api_error(Status(StatusCode::kInvalidArgument, "a.b: 1, want 2")).param, "a.b");
  EXPECT_EQ(api_error(Status(StatusCode::kInvalidArgument, "no path here: x")).param, "");
  EXPECT_EQ(api_error(Status(StatusCode::kUnsupported, "x: y")).status, 400);
  EXPECT_EQ(api_error(Status(StatusCode::kNotFound, "x: y")).status, 404);
  EXPECT_EQ(api_error(Status(StatusCode::kResourceExhausted, "full")).status, 429);
  EXPECT_EQ(api_error(Status(StatusCode::kIoError, "disk")).status, 500);
}

}  // namespace
}  // namespace server
