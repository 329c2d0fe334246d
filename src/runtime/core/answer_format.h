// How a model writes its thoughts and its tool calls, found out from its chat template: the template is
// rendered for conversations with and without them, and the texts are compared. No list of models.
//
// forge does this when it compiles (derive_answer_format) and stores the text form; the program reads it
// back (AnswerFormat::from_text) and gives it to AnswerParser, prepare_messages and tool_call_grammar.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/core/chat_template.h"
#include "runtime/core/result.h"

namespace forge::rt {

// What the generation prompt does about thoughts.
enum class PromptThinking : uint8_t { leaves, opens, closes };

struct ThinkingFormat {
  std::string open,
      close;  // "<think>", "</think>", without white space around them; empty: no thoughts known
  std::string
      message_key;       // of an assistant message: the template renders its thoughts; empty: it drops them
  std::string variable;  // a boolean that switches thinking, "enable_thinking"; empty: there is none
  bool on_by_default = false;                          // where the variable is left undefined
  PromptThinking by_default = PromptThinking::leaves;  // the prompt with the variable undefined,
  PromptThinking when_on = PromptThinking::leaves;     // true,
  PromptThinking when_off = PromptThinking::leaves;    // and false
};

enum class CallStyle : uint8_t {
  none,
  json,        // an object with the keys below; where `list`, in a JSON list
  named_json,  // the name, name_end, and the arguments as a JSON object
  xml,         // the name, name_end, and for each argument its name and value between markers
  python,      // name(key=value, …); where `list`, in a list
  any,         // markers alone are known: a JSON object, a list of them, or a list of Python calls
};

// The text of calls: section_begin [ call separator call … ] section_end, the brackets where `list`; a call is
// call_begin, what its style says, call_end. White space in markers is as the template has it.
struct CallFormat {
  CallStyle style = CallStyle::none;
  bool list = false;
  std::string section_begin, call_begin, call_end, separator, section_end;
  std::string name_end;  // named_json, xml
  std::string id_end;    // named_json: name, name_end, id, id_end; empty: no id
  std::string parameter_begin, parameter_middle, parameter_end;  // xml: around the argument's name and value
  std::string name_key, arguments_key, id_key;                   // json; no id: empty
  std::vector<std::string> key_order;  // json: those keys as the template writes them
};

struct AnswerFormat {
  ThinkingFormat thinking;
  CallFormat calls;
  // What the template does with a conversation; prepare_messages makes up for what it does not.
  bool system_role = false;       // takes a system message
  bool lists_tools = false;       // describes `tools` to the model
  bool empty_tools = false;       // fails without tools, but not with an empty list
  bool renders_calls = false;     // an assistant message's tool_calls
  bool renders_content = false;   // …and its content before them; else prepare_messages leaves it out
  bool renders_results = false;   // messages of the role "tool"
  bool parallel_calls = false;    // several calls in one message
  bool string_arguments = false;  // takes a call's arguments as JSON text, not as an object
  bool null_content = false;      // a message with calls must have content none, else an empty string
  uint32_t call_id_length = 0;    // ids of calls must have exactly so many letters and digits; 0: any

  // The template knows tools by itself. Otherwise calls.style is `json` with markers of ours, and
  // prepare_messages describes tools in a system message.
  bool native_tools() const { return lists_tools && calls.style != CallStyle::none; }
  // Whether a control token is part of a marker, so that the parser must be given its name.
  bool has_marker(std::string_view token_name) const;

  std::string to_text() const;  // one line
  // An Error where the text was not written by to_text.
  static Result<AnswerFormat> from_text(std::string_view text);
};

// What the vocabulary knows of markers and the template may not say: names of the control tokens, such as
// "<|tool_call_start|>". Used only where the template lists tools and shows no call.
struct FormatHints {
  std::vector<std::string> control_tokens;
};

// Never fails: what a template refuses or hides is missing in the format. Takes some twenty renderings.
AnswerFormat derive_answer_format(const ChatTemplate& chat_template, const FormatHints& hints = {});

// The parts of a marker between which any white space is accepted: tags (<…> and [UPPER_CASE]) and words.
std::vector<std::string> marker_parts(std::string_view marker);
// Without white space at both ends.
std::string_view trim_space(std::string_view s);

// A whole tool call.
struct ToolCall {
  std::string id;  // may be empty
  std::string name;
  std::string arguments;  // text of a JSON object
};

// The text of calls as the model would write it; empty where the format has none or `calls` is empty.
std::string write_calls(const CallFormat& format, const std::vector<ToolCall>& calls);

}  // namespace forge::rt
