// Tokens of a Jinja template, as jinja2 cuts them with trim_blocks and lstrip_blocks on.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/core/jinja_value.h"

namespace forge::rt::jinja {

enum class TokenType : uint8_t {
  data,            // text: template text outside of tags
  variable_begin,  // {{
  variable_end,
  block_begin,  // {%
  block_end,
  name,       // text: the identifier
  string,     // text: unescaped
  number,     // value
  operator_,  // text: one of + - * / // % ** ~ [ ] ( ) { } == != > >= < <= = . : | , ;
  end,
};

struct Token {
  TokenType type = TokenType::end;
  uint32_t line = 1;
  std::string text;
  Value value;

  bool is(TokenType t, std::string_view s) const { return type == t && text == s; }
  bool is_name(std::string_view s) const { return is(TokenType::name, s); }
  bool is_operator(std::string_view s) const { return is(TokenType::operator_, s); }
};

// The tokens of the whole template; the last is TokenType::end.
Result<std::vector<Token>> tokenize(std::string_view source);

// An error in the template's text or while it runs.
Error error_at(uint32_t line, std::string_view message);

}  // namespace forge::rt::jinja
