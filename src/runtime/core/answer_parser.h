// What a model generates, divided into thoughts, content and tool calls while it streams.
//
// The result does not depend on how the text is cut: only what may be the beginning of a marker, white space
// before one, and the call that is being written are held back. A call that breaks its format comes out as
// content, with its markers; no text is lost but markers and the white space around them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/core/answer_format.h"

namespace forge::rt {

struct AnswerDelta {
  // A call is call_begin, call_arguments and call_end in one go, when it is complete.
  enum class Kind : uint8_t { reasoning, content, call_begin, call_arguments, call_end };
  Kind kind = Kind::content;
  std::string text;   // call_begin: the function's name; call_arguments: the JSON object; call_end: empty
  uint32_t call = 0;  // call_…: 0, 1, …
  std::string id;     // call_begin: the id that the model gave, or empty
};

struct AnswerOptions {
  std::string_view prompt;  // the rendered prompt: whether thoughts are open where the answer begins
  bool thoughts = true;     // else they stay in the content
  jinja::Value
      tools;  // as in the request: a list of {"type": "function", "function": {"name", "parameters"}};
              // undefined or none: nothing is a call
};

class AnswerParser {
 public:
  AnswerParser(const AnswerFormat& format, const AnswerOptions& options);
  // It points into itself.
  AnswerParser(const AnswerParser&) = delete;
  AnswerParser& operator=(const AnswerParser&) = delete;

  // Takes text as Tokenizer::append_piece gives it, with `special` for tokens whose name AnswerFormat::has_marker
  // and without for all others; tokens that end the generation are left out.
  std::vector<AnswerDelta> push(std::string_view text);
  // What is held back, at the end of the answer. With `cut_off` (no more tokens were allowed) a call or a marker that was
  // begun is left out; but not what calls without a marker look like, which may be no call.
  std::vector<AnswerDelta> finish(bool cut_off = false);
  uint32_t n_calls() const { return n_calls_; }

 private:
  using Parts = std::vector<std::string>;
  enum class State : uint8_t {
    reasoning,
    content,
    markers,
    body,
    json,
    python,
    name,
    id,
    parameters,
    key,
    value
  };
  enum class Found : uint8_t { nothing, beginning, whole };

  void step(char c);
  void text_step(char c);
  Found find_marker();
  void plain(char c);
  void begin_call(size_t chain_index);
  void expect(const Parts& parts, size_t from, State next);
  void marker_step(char c);
  void body_step(char c);
  void json_step(char c);
  void python_step(char c);
  void name_step(char c);
  void id_step(char c);
  void parameters_step(char c);
  void key_step(char c);
  void value_step(char c);
  void begin_json(char c);
  void json_done();
  void python_done();
  void parameters_done();
  void call_done(std::string name, std::string id, std::string arguments);
  void fail();
  void emit(AnswerDelta::Kind kind, std::string_view text);
  void drain(std::string_view text);
  bool is_tool(std::string_view name) const;
  bool is_string_parameter(const std::string& name) const;

  CallFormat calls_;
  std::string open_, close_;  // empty: no thoughts
  // Markers in parts; the chain is what stands before a call, the first of a section and of a call included.
  Parts chain_, closers_, name_end_, id_end_, call_end_, parameter_begin_, parameter_middle_, parameter_end_;
  std::vector<size_t> triggers_;  // the parts of the chain by which a call is recognised
  jinja::Value tools_;
  bool finds_calls_ = false;
  bool is_bare_ = false;  // calls without a marker: recognised where the content begins

  State state_ = State::content;
  bool at_start_ = true;     // no content so far
  bool after_call_ = false;  // nothing but closing markers since the last call
  bool in_list_ = false;
  bool drop_space_ = false;  // white space that follows is a marker's
  std::string match_;        // the beginning of a marker
  std::string pending_;      // white space that may stand before a marker

  // The call being read.
  std::string lead_, raw_;   // the white space before it, its text
  size_t trigger_size_ = 0;  // the bytes of raw_ that made it one
  const Parts* expected_ = nullptr;
  size_t expected_part_ = 0, expected_byte_ = 0;
  State next_ = State::content;
  std::string item_, name_, id_, key_, value_, token_;
  size_t depth_ = 0;
  bool in_string_ = false, escaped_ = false;
  char quote_ = '"';

  std::string again_;  // text of a broken call, to be read once more
  size_t again_pos_ = 0;
  std::vector<AnswerDelta> out_;
  uint32_t n_calls_ = 0;
};

}  // namespace forge::rt
