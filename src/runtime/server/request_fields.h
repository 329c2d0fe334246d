// Reads fields out of a request's JSON, and says what is wrong with them as OpenAI's API does: in one sentence, with the
// field's name.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/core/jinja_value.h"

namespace forge::rt {

// What a request can't have.
struct ApiError {
  int status = 400;
  std::string message;
  std::string param;                           // the field's path: "messages.0.content"; may be empty
  std::string type = "invalid_request_error";  // OpenAI's
  std::string code;                            // OpenAI's; may be empty
};

// The fields of one JSON object. The first error of all that share `error` stays there; what can't be read keeps its
// value. A null counts as absent.
class RequestFields {
 public:
  // `object` that is no dict is an error.
  RequestFields(const jinja::Value& object, std::string path, ApiError& error);

  // Null where the field is absent.
  const jinja::Value* find(std::string_view name) const;
  bool has(std::string_view name) const { return find(name) != nullptr; }
  // The value in [low, high]; whether it is there and was read.
  bool number(std::string_view name, double low, double high, double& out) const;
  bool number(std::string_view name, double low, double high, float& out) const;
  bool integer(std::string_view name, int64_t low, int64_t high, int64_t& out) const;
  bool integer(std::string_view name, int64_t low, int64_t high, uint32_t& out) const;
  bool boolean(std::string_view name, bool& out) const;
  bool string(std::string_view name, std::string& out) const;
  // One string, or a list of at most `max` of them.
  bool strings(std::string_view name, size_t max, std::vector<std::string>& out) const;
  // Must be there: its absence is an error.
  const jinja::Value* required(std::string_view name) const;

  // Reports that the field is not as expected: "temperature: expected …".
  void expected(std::string_view name, std::string_view what) const;
  void fail(std::string_view name, std::string message) const;
  bool failed() const { return !error_->message.empty(); }
  std::string path_of(std::string_view name) const;
  ApiError& error() const { return *error_; }

 private:
  const jinja::Dict* dict_ = nullptr;
  std::string path_;
  ApiError* error_;
};

// The items of a list, or nothing where `value` is none.
const std::vector<jinja::Value>* list_items(const jinja::Value& value);

}  // namespace forge::rt
