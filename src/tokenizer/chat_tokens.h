// The literal tokens of the DeepSeek-V3.2 chat encoding (full-width bar U+FF5C, U+2581 for spaces).
#pragma once

#include <string_view>

namespace dsa::chat {

inline constexpr std::string_view kBegin = "<｜begin▁of▁sentence｜>";
inline constexpr std::string_view kEnd = "<｜end▁of▁sentence｜>";
inline constexpr std::string_view kUser = "<｜User｜>";
inline constexpr std::string_view kAssistant = "<｜Assistant｜>";
inline constexpr std::string_view kThink = "<think>";
inline constexpr std::string_view kEndThink = "</think>";
inline constexpr std::string_view kDsml = "｜DSML｜";

// A block of calls is open, one invoke per call with one parameter per argument, close.
inline constexpr std::string_view kOpenCalls = "<｜DSML｜function_calls>";
inline constexpr std::string_view kCloseCalls = "</｜DSML｜function_calls>";
inline constexpr std::string_view kOpenInvoke = "<｜DSML｜invoke name=\"";
inline constexpr std::string_view kCloseInvoke = "</｜DSML｜invoke>";
inline constexpr std::string_view kOpenParameter = "<｜DSML｜parameter name=\"";
inline constexpr std::string_view kIsString = "\" string=\"";
inline constexpr std::string_view kCloseParameter = "</｜DSML｜parameter>";

// Where one of these stands in a value, the value's own end is missing.
inline constexpr std::string_view kForeignInValue[] = {"<｜DSML｜function_calls", "<｜DSML｜invoke",
                                                       "<｜DSML｜parameter", "</｜DSML｜invoke",
                                                       "</｜DSML｜function_calls"};

}  // namespace dsa::chat
