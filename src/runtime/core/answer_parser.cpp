#include "runtime/core/answer_parser.h"

#include <algorithm>

#include "runtime/core/grammar_json_schema.h"
#include "runtime/core/jinja_json.h"

namespace forge::rt {

namespace {

using jinja::Value;

constexpr size_t kMaxName = 256;   // bytes of a function's or an argument's name
constexpr size_t kMaxAgain = 512;  // bytes of a broken call in which other markers are looked for
constexpr size_t kMaxLiteralDepth = 32;

bool is_space(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_name_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '_' || c == '-' || c == '.';
}

void append(std::vector<std::string>& out, std::vector<std::string> more) {
  out.insert(out.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
}

const Value* member(const Value* v, std::string_view key) {
  return v != nullptr && v->is(jinja::Type::dict) ? v->as_dict().find(key) : nullptr;
}

// A name can be anything but empty, white space, or what looks like markup.
bool is_name(std::string_view s) {
  return !s.empty() && s.size() <= kMaxName && s.find_first_of(" \t\r\n<>{}\"'`") == std::string_view::npos;
}

// What a call's JSON object says.
bool read_call(std::string_view object, const CallFormat& f, ToolCall& out, int depth = 0) {
  bool has_name = false, has_arguments = false;
  std::string_view nested;
  out = {};
  out.arguments = "{}";
  for (const jinja::JsonMember& m : jinja::json_members(object)) {
    const auto is = [&](const std::string& derived, std::string_view usual) {
      return derived.empty() ? m.key == usual : m.key == derived;
    };
    const char first = m.value.front();
    if (is(f.name_key, "name") && first == '"') {
      out.name = jinja::parse_json(m.value)->as_string();
      has_name = true;
    } else if (is(f.arguments_key, "arguments") || m.key == "arguments" || m.key == "parameters") {
      out.arguments = m.value;
      if (first == '"') out.arguments = jinja::parse_json(m.value)->as_string();
      has_arguments = true;
    } else if (is(f.id_key, "id") && first == '"') {
      out.id = jinja::parse_json(m.value)->as_string();
    } else if (m.key == "function" && first == '{') {
      nested = m.value;
    }
  }
  if (!has_name && !has_arguments && !nested.empty() && depth == 0) return read_call(nested, f, out, 1);
  if (!has_name || !is_name(out.name)) return false;
  const Result<Value> arguments = jinja::parse_json(out.arguments);
  return arguments && arguments->is(jinja::Type::dict);
}

// Python's literals as JSON text.
struct LiteralReader {
  std::string_view s;
  size_t pos = 0;
  std::string out = {};

  void skip_space() {
    while (pos < s.size() && is_space(s[pos])) ++pos;
  }
  bool take(std::string_view what) {
    if (!s.substr(pos).starts_with(what)) return false;
    pos += what.size();
    return true;
  }

  bool string(std::string& value) {
    const char quote = pos < s.size() ? s[pos] : '\0';
    if (quote != '"' && quote != '\'') return false;
    for (++pos; pos < s.size(); ++pos) {
      char c = s[pos];
      if (c == quote) {
        ++pos;
        return true;
      }
      if (c == '\\' && pos + 1 < s.size()) {
        c = s[++pos];
        constexpr std::string_view kNames = "nrtbf", kCodes = "\n\r\t\b\f";
        if (c == 'u' || c == 'x') {  // as JSON reads it
          const size_t digits = c == 'u' ? 4 : 2;
          size_t n = 0;
          std::string escape = "\"\\u" + std::string(4 - digits, '0');
          while (n < digits && pos + 1 < s.size()) escape += s[++pos], ++n;
          if (c == 'u' && s.substr(pos + 1).starts_with("\\u")) {  // maybe a pair of surrogates
            const std::string pair = escape + std::string(s.substr(pos + 1, 6)) + '"';
            const Result<Value> both = jinja::parse_json(pair);
            if (both && !jinja::parse_json(escape + '"')) {
              value += both->as_string();
              pos += 6;
              continue;
            }
          }
          const Result<Value> character = jinja::parse_json(escape + '"');
          if (!character) return false;
          value += character->as_string();
          continue;
        }
        const size_t i = kNames.find(c);
        if (i != std::string_view::npos) {
          c = kCodes[i];
        } else if (c != '\\' && c != '\'' && c != '"' && c != '/') {
          value += '\\';  // Python keeps the backslash of what it does not know
        }
      }
      value += c;
    }
    return false;
  }

  bool value(size_t depth) {
    if (depth > kMaxLiteralDepth) return false;
    skip_space();
    const char c = pos < s.size() ? s[pos] : '\0';
    if (c == '"' || c == '\'') {
      std::string text_value;
      if (!string(text_value)) return false;
      jinja::append_json_string(out, text_value);
      return true;
    }
    if (c == '[' || c == '(') return items(c == '[' ? ']' : ')', depth);
    if (c == '{') return pairs(depth);
    for (const auto& [word, json] : {std::pair<std::string_view, std::string_view>{"True", "true"},
                                     {"False", "false"},
                                     {"None", "null"},
                                     {"true", "true"},
                                     {"false", "false"},
                                     {"null", "null"}}) {
      if (take(word)) {
        out += json;
        return true;
      }
    }
    const size_t end = std::min(s.find_first_not_of("+-.0123456789eE", pos), s.size());
    const std::string_view number = s.substr(pos, end - pos);
    if (!jinja::parse_json(number)) return false;
    out += number;
    pos = end;
    return true;
  }

  bool items(char close, size_t depth) {
    ++pos;
    out += '[';
    skip_space();
    for (bool first = true; !take(std::string_view(&close, 1)); first = false) {
      if (!first && !take(",")) return false;
      skip_space();
      if (!first && take(std::string_view(&close, 1))) break;
      if (!first) out += ", ";
      if (!value(depth + 1)) return false;
      skip_space();
    }
    out += ']';
    return true;
  }

  bool pairs(size_t depth) {
    ++pos;
    out += '{';
    skip_space();
    for (bool first = true; !take("}"); first = false) {
      if (!first && !take(",")) return false;
      skip_space();
      if (!first && take("}")) break;
      std::string key;
      if (!string(key)) return false;
      if (!first) out += ", ";
      jinja::append_json_string(out, key);
      skip_space();
      if (!take(":")) return false;
      out += ": ";
      if (!value(depth + 1)) return false;
      skip_space();
    }
    out += '}';
    return true;
  }

  // key=value, …)
  bool keywords() {
    out += '{';
    skip_space();
    for (bool first = true; !take(")"); first = false) {
      if (!first && !take(",")) return false;
      skip_space();
      if (!first && take(")")) break;
      const size_t begin = pos;
      while (pos < s.size() && is_name_char(s[pos])) ++pos;
      const std::string_view key = s.substr(begin, pos - begin);
      skip_space();
      if (key.empty() || !take("=")) return false;
      if (!first) out += ", ";
      jinja::append_json_string(out, key);
      out += ": ";
      if (!value(0)) return false;
      skip_space();
    }
    out += '}';
    return true;
  }
};

}  // namespace

AnswerParser::AnswerParser(const AnswerFormat& format, const AnswerOptions& options)
    : calls_(format.calls), tools_(options.tools) {
  if (options.thoughts) {
    open_ = format.thinking.open;
    close_ = format.thinking.close;
  }
  if (!open_.empty() && trim_space(options.prompt).ends_with(open_)) {
    state_ = State::reasoning;
    drop_space_ = true;
  }
  finds_calls_ = calls_.style != CallStyle::none && tools_.is_sequence(jinja::SequenceKind::list);
  if (!finds_calls_) return;
  chain_ = marker_parts(calls_.section_begin);
  const size_t n_section = chain_.size();
  append(chain_, marker_parts(calls_.call_begin));
  name_end_ = marker_parts(calls_.name_end);
  id_end_ = marker_parts(calls_.id_end);
  call_end_ = marker_parts(calls_.call_end);
  parameter_begin_ = marker_parts(calls_.parameter_begin);
  parameter_middle_ = marker_parts(calls_.parameter_middle);
  parameter_end_ = marker_parts(calls_.parameter_end);
  closers_ = call_end_;
  append(closers_, marker_parts(calls_.separator));
  append(closers_, marker_parts(calls_.section_end));
  for (size_t i = 0; i < chain_.size(); ++i) {
    // Models leave out an outer tag now and then.
    const bool is_tag = chain_[i].size() >= 4 && (chain_[i][0] == '<' || chain_[i][0] == '[');
    if (i == 0 || i == n_section || is_tag) triggers_.push_back(i);
  }
  is_bare_ = chain_.empty();
}

std::vector<AnswerDelta> AnswerParser::push(std::string_view text) {
  drain(text);
  return std::exchange(out_, {});
}

std::vector<AnswerDelta> AnswerParser::finish(bool cut_off) {
  const bool in_call = state_ != State::content && state_ != State::reasoning;
  if (cut_off && in_call && !is_bare_) return std::exchange(out_, {});
  if (cut_off && match_.size() > 1) match_.clear();  // one character is hardly a marker
  while (state_ != State::content && state_ != State::reasoning) {
    fail();
    drain({});
  }
  for (const char c : std::exchange(match_, {})) plain(c);
  if (!after_call_) {
    emit(state_ == State::reasoning ? AnswerDelta::Kind::reasoning : AnswerDelta::Kind::content, pending_);
  }
  pending_.clear();
  return std::exchange(out_, {});
}

void AnswerParser::drain(std::string_view text) {
  for (size_t i = 0; again_pos_ < again_.size() || i < text.size();) {
    step(again_pos_ < again_.size() ? again_[again_pos_++] : text[i++]);
  }
  again_.clear();
  again_pos_ = 0;
}

void AnswerParser::step(char c) {
  if (state_ == State::content || state_ == State::reasoning) {
    text_step(c);
    return;
  }
  raw_ += c;
  switch (state_) {
    case State::markers: marker_step(c); break;
    case State::body: body_step(c); break;
    case State::json: json_step(c); break;
    case State::python: python_step(c); break;
    case State::name: name_step(c); break;
    case State::id: id_step(c); break;
    case State::parameters: parameters_step(c); break;
    case State::key: key_step(c); break;
    case State::value: value_step(c); break;
    case State::reasoning:
    case State::content: break;
  }
}

void AnswerParser::emit(AnswerDelta::Kind kind, std::string_view text) {
  if (text.empty()) return;
  if (out_.empty() || out_.back().kind != kind) out_.emplace_back().kind = kind;
  out_.back().text += text;
}

// ---- Thoughts and content

void AnswerParser::text_step(char c) {
  match_ += c;
  while (!match_.empty()) {
    if (is_bare_ && finds_calls_ && state_ == State::content && (at_start_ || after_call_) &&
        match_.size() == 1 && (c == '{' || c == '[')) {
      lead_ = std::exchange(pending_, {});
      raw_ = std::exchange(match_, {});
      trigger_size_ = 1;
      in_list_ = false;
      body_step(c);
      return;
    }
    if (find_marker() != Found::nothing) return;
    plain(match_[0]);
    match_.erase(0, 1);
  }
}

// Whether match_ is a marker, or begins one; does what a whole marker means.
AnswerParser::Found AnswerParser::find_marker() {
  Found found = Found::nothing;
  const auto is = [&](std::string_view marker) {
    if (!marker.starts_with(match_)) return false;
    if (marker.size() != match_.size()) found = Found::beginning;
    return marker.size() == match_.size();
  };
  if (state_ == State::reasoning) {
    if (is(close_)) {
      match_.clear();
      pending_.clear();
      state_ = State::content;
      drop_space_ = true;
      return Found::whole;
    }
    return found;
  }
  if (at_start_ && !open_.empty() && is(open_)) {
    match_.clear();
    pending_.clear();
    state_ = State::reasoning;
    drop_space_ = true;
    return Found::whole;
  }
  if (!finds_calls_) return found;
  for (const size_t i : triggers_) {
    if (is(chain_[i])) {
      begin_call(i);
      return Found::whole;
    }
  }
  if (!after_call_) return found;
  if (in_list_ && is(",")) {
    lead_ = std::exchange(pending_, {});
    raw_ = std::exchange(match_, {});
    trigger_size_ = 1;
    state_ = State::body;
    return Found::whole;
  }
  const bool ends_list = in_list_ && is("]");
  if (ends_list || std::any_of(closers_.begin(), closers_.end(), is)) {
    in_list_ = in_list_ && !ends_list;
    match_.clear();
    pending_.clear();
    return Found::whole;
  }
  return found;
}

void AnswerParser::plain(char c) {
  if (is_space(c)) {
    if (!drop_space_) pending_ += c;
    return;
  }
  const bool thought = state_ == State::reasoning;
  emit(thought ? AnswerDelta::Kind::reasoning : AnswerDelta::Kind::content, std::exchange(pending_, {}) + c);
  if (!thought) at_start_ = after_call_ = in_list_ = false;
  drop_space_ = false;
}

// ---- Calls

void AnswerParser::begin_call(size_t chain_index) {
  lead_ = std::exchange(pending_, {});
  raw_ = std::exchange(match_, {});
  trigger_size_ = raw_.size();
  in_list_ = false;
  expect(chain_, chain_index + 1,
         calls_.style == CallStyle::named_json || calls_.style == CallStyle::xml ? State::name : State::body);
  item_.clear();
  name_.clear();
  id_.clear();
}

void AnswerParser::expect(const Parts& parts, size_t from, State next) {
  expected_ = &parts;
  expected_part_ = from;
  expected_byte_ = 0;
  next_ = next;
  state_ = from < parts.size() ? State::markers : next;
  token_.clear();
}

void AnswerParser::marker_step(char c) {
  if (expected_byte_ == 0 && is_space(c)) return;
  const std::string& part = (*expected_)[expected_part_];
  if (c != part[expected_byte_++]) {
    fail();
  } else if (expected_byte_ == part.size()) {
    expected_byte_ = 0;
    if (++expected_part_ == expected_->size()) state_ = next_;
  }
}

// An object, a list of objects or calls, or a Python call.
void AnswerParser::body_step(char c) {
  state_ = State::body;
  if (is_space(c)) return;
  const bool python = calls_.style == CallStyle::python || calls_.style == CallStyle::any;
  if (c == '{') {
    begin_json(c);
  } else if (c == '[' && !in_list_ && calls_.style != CallStyle::named_json) {
    in_list_ = true;
  } else if (python && is_name_char(c) && !is_digit(c)) {
    item_ = c;
    depth_ = 0;
    in_string_ = escaped_ = false;
    state_ = State::python;
  } else {
    fail();
  }
}

void AnswerParser::begin_json(char c) {
  item_ = c;
  depth_ = 1;
  in_string_ = escaped_ = false;
  state_ = State::json;
}

void AnswerParser::json_step(char c) {
  if (in_string_) {
    // Models write line breaks into strings as they are.
    if (static_cast<unsigned char>(c) < 0x20) {
      std::string escaped;
      jinja::append_json_string(escaped, std::string_view(&c, 1));
      item_ += std::string_view(escaped).substr(1, escaped.size() - 2);
    } else {
      item_ += c;
    }
    if (escaped_) {
      escaped_ = false;
    } else if (c == '\\') {
      escaped_ = true;
    } else if (c == '"') {
      in_string_ = false;
    }
    return;
  }
  item_ += c;
  if (c == '"') {
    in_string_ = true;
  } else if (c == '{' || c == '[') {
    ++depth_;
  } else if ((c == '}' || c == ']') && --depth_ == 0) {
    json_done();
  }
}

void AnswerParser::json_done() {
  ToolCall call;
  if (calls_.style == CallStyle::named_json) {
    const Result<Value> arguments = jinja::parse_json(item_);
    if (!arguments || !arguments->is(jinja::Type::dict)) return fail();
    return call_done(name_, id_, item_);
  }
  if (!read_call(item_, calls_, call)) return fail();
  call_done(std::move(call.name), std::move(call.id), std::move(call.arguments));
}

void AnswerParser::python_step(char c) {
  item_ += c;
  if (depth_ == 0) {
    if (c == '(') {
      name_ = item_.substr(0, item_.size() - 1);
      depth_ = 1;
    } else if (!is_name_char(c) || item_.size() > kMaxName) {
      fail();
    }
    return;
  }
  if (in_string_) {
    if (escaped_) {
      escaped_ = false;
    } else if (c == '\\') {
      escaped_ = true;
    } else if (c == quote_) {
      in_string_ = false;
    }
  } else if (c == '"' || c == '\'') {
    in_string_ = true;
    quote_ = c;
  } else if (c == '(' || c == '[' || c == '{') {
    ++depth_;
  } else if ((c == ')' || c == ']' || c == '}') && --depth_ == 0) {
    python_done();
  }
}

void AnswerParser::python_done() {
  LiteralReader reader{item_, name_.size() + 1};
  if (!reader.keywords() || reader.pos != item_.size()) return fail();
  if (!jinja::parse_json(reader.out)) return fail();
  call_done(name_, {}, std::move(reader.out));
}

void AnswerParser::name_step(char c) {
  name_ += c;
  const State next = calls_.style == CallStyle::xml ? State::parameters
                     : !calls_.id_end.empty()       ? State::id
                                                    : State::body;
  const bool ends_blank = name_end_.empty() && c == (calls_.style == CallStyle::xml ? '<' : '{');
  if (ends_blank || (!name_end_.empty() && name_.ends_with(name_end_[0]))) {
    name_.resize(name_.size() - (ends_blank ? 1 : name_end_[0].size()));
    name_ = trim_space(name_);
    if (!is_name(name_)) return fail();
    expect(name_end_, ends_blank ? 0 : 1, next);
    if (next == State::id) id_.clear();
    if (!ends_blank) return;
    if (next == State::parameters) return parameters_step(c);
    return begin_json(c);
  }
  if (name_.size() > kMaxName) fail();
}

void AnswerParser::id_step(char c) {
  id_ += c;
  if (id_.ends_with(id_end_[0])) {
    id_.resize(id_.size() - id_end_[0].size());
    id_ = trim_space(id_);
    expect(id_end_, 1, State::body);
  } else if (id_.size() > kMaxName) {
    fail();
  }
}

void AnswerParser::parameters_step(char c) {
  if (token_.empty() && is_space(c)) return;
  token_ += c;
  if (token_ == parameter_begin_[0]) {
    key_.clear();
    expect(parameter_begin_, 1, State::key);
  } else if (token_ == call_end_[0]) {
    parameters_done();
  } else if (!std::string_view(parameter_begin_[0]).starts_with(token_) &&
             !std::string_view(call_end_[0]).starts_with(token_)) {
    fail();
  }
}

void AnswerParser::key_step(char c) {
  key_ += c;
  if (key_.ends_with(parameter_middle_[0])) {
    key_.resize(key_.size() - parameter_middle_[0].size());
    key_ = trim_space(key_);
    value_.clear();
    expect(parameter_middle_, 1, State::value);
  } else if (key_.size() > kMaxName) {
    fail();
  }
}

void AnswerParser::value_step(char c) {
  value_ += c;
  if (!value_.ends_with(parameter_end_[0])) return;
  value_.resize(value_.size() - parameter_end_[0].size());
  std::string_view v = value_;
  if (calls_.parameter_middle.ends_with('\n') && v.starts_with('\n')) v.remove_prefix(1);
  if (calls_.parameter_end.starts_with('\n') && v.ends_with('\n')) v.remove_suffix(1);
  if (!item_.empty()) item_ += ", ";
  jinja::append_json_string(item_, key_);
  item_ += ": ";
  const Result<Value> json =
      is_string_parameter(key_) ? Result<Value>(Error{}) : jinja::parse_json(trim_space(v));
  if (json) {
    item_ += trim_space(v);
  } else {
    jinja::append_json_string(item_, v);
  }
  expect(parameter_end_, 1, State::parameters);
}

void AnswerParser::parameters_done() {
  std::string arguments = '{' + item_ + '}';
  // A value as deep as parse_json goes is too deep inside of an object.
  if (!jinja::parse_json(arguments)) return fail();
  call_done(name_, {}, std::move(arguments));
}

void AnswerParser::call_done(std::string name, std::string id, std::string arguments) {
  if (is_bare_ && !is_tool(name)) return fail();  // JSON that is the answer
  const uint32_t call = n_calls_++;
  out_.push_back({AnswerDelta::Kind::call_begin, std::move(name), call, std::move(id)});
  out_.push_back({AnswerDelta::Kind::call_arguments, std::move(arguments), call, {}});
  out_.push_back({AnswerDelta::Kind::call_end, {}, call, {}});
  lead_.clear();
  raw_.clear();
  state_ = State::content;
  after_call_ = true;
  at_start_ = drop_space_ = false;
}

// The call is none: what made it one is content, and the rest is read again.
void AnswerParser::fail() {
  const std::string raw = std::exchange(raw_, {});
  std::string_view rest = std::string_view(raw).substr(trigger_size_);
  emit(AnswerDelta::Kind::content, std::exchange(lead_, {}) + raw.substr(0, trigger_size_));
  if (rest.size() <= kMaxAgain) {
    again_ = std::string(rest) + again_.substr(again_pos_);
    again_pos_ = 0;
  } else {
    emit(AnswerDelta::Kind::content, rest);
  }
  state_ = State::content;
  at_start_ = after_call_ = in_list_ = drop_space_ = false;
}

bool AnswerParser::is_tool(std::string_view name) const {
  for (const Value& tool : tools_.as_sequence().items) {
    const Value* tool_name = member(member(&tool, "function"), "name");
    if (tool_name != nullptr && tool_name->is_string() && tool_name->as_string() == name) return true;
  }
  return false;
}

bool AnswerParser::is_string_parameter(const std::string& name) const {
  for (const Value& tool : tools_.as_sequence().items) {
    const Value* function = member(&tool, "function");
    const Value* tool_name = member(function, "name");
    if (tool_name == nullptr || !tool_name->is_string() || tool_name->as_string() != name_) continue;
    const Value* schema = member(member(member(function, "parameters"), "properties"), name);
    return schema != nullptr && is_text_parameter(*schema);
  }
  return false;
}

}  // namespace forge::rt
