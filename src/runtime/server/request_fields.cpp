#include "runtime/server/request_fields.h"

#include "runtime/core/result.h"
#include "runtime/host/json.h"

namespace forge::rt {

using jinja::Type;
using jinja::Value;

RequestFields::RequestFields(const Value& object, std::string path, ApiError& error)
    : path_(std::move(path)), error_(&error) {
  if (object.is(Type::dict)) {
    dict_ = &object.as_dict();
  } else {
    fail({}, text(path_.empty() ? "the body" : path_, ": expected a JSON object"));
  }
}

std::string RequestFields::path_of(std::string_view name) const {
  return path_.empty() || name.empty() ? path_ + std::string(name) : text(path_, ".", name);
}

void RequestFields::fail(std::string_view name, std::string message) const {
  if (failed()) return;
  error_->message = std::move(message);
  error_->param = path_of(name);
}

void RequestFields::expected(std::string_view name, std::string_view what) const {
  fail(name, text(path_of(name), ": expected ", what));
}

const Value* RequestFields::find(std::string_view name) const {
  const Value* value = dict_ != nullptr ? dict_->find(name) : nullptr;
  return value != nullptr && !value->is_none() ? value : nullptr;
}

const Value* RequestFields::required(std::string_view name) const {
  const Value* value = find(name);
  if (value == nullptr) fail(name, text("missing field: ", path_of(name)));
  return value;
}

bool RequestFields::number(std::string_view name, double low, double high, double& out) const {
  const Value* value = find(name);
  if (value == nullptr) return false;
  const bool ok =
      value->is_number() && !value->is(Type::boolean) && value->as_real() >= low && value->as_real() <= high;
  if (!ok) expected(name, text("a number from ", json_number(low), " to ", json_number(high)));
  if (ok) out = value->as_real();
  return ok;
}

bool RequestFields::number(std::string_view name, double low, double high, float& out) const {
  double value = 0;
  const bool ok = number(name, low, high, value);
  if (ok) out = static_cast<float>(value);
  return ok;
}

bool RequestFields::integer(std::string_view name, int64_t low, int64_t high, int64_t& out) const {
  const Value* value = find(name);
  if (value == nullptr) return false;
  const bool ok = value->is(Type::integer) && value->as_int() >= low && value->as_int() <= high;
  if (!ok) expected(name, text("a whole number from ", low, " to ", high));
  if (ok) out = value->as_int();
  return ok;
}

bool RequestFields::integer(std::string_view name, int64_t low, int64_t high, uint32_t& out) const {
  int64_t value = 0;
  const bool ok = integer(name, low, high, value);
  if (ok) out = static_cast<uint32_t>(value);
  return ok;
}

bool RequestFields::boolean(std::string_view name, bool& out) const {
  const Value* value = find(name);
  if (value == nullptr) return false;
  if (!value->is(Type::boolean)) {
    expected(name, "true or false");
    return false;
  }
  out = value->as_bool();
  return true;
}

bool RequestFields::string(std::string_view name, std::string& out) const {
  const Value* value = find(name);
  if (value == nullptr) return false;
  if (!value->is_string()) {
    expected(name, "a string");
    return false;
  }
  out = value->as_string();
  return true;
}

bool RequestFields::strings(std::string_view name, size_t max, std::vector<std::string>& out) const {
  const Value* value = find(name);
  if (value == nullptr) return false;
  if (value->is_string()) {
    out = {value->as_string()};
    return true;
  }
  const auto* items = list_items(*value);
  bool ok = items != nullptr && items->size() <= max;
  std::vector<std::string> read;
  for (size_t i = 0; ok && i < items->size(); ++i) {
    ok = (*items)[i].is_string();
    if (ok) read.push_back((*items)[i].as_string());
  }
  if (!ok) expected(name, text("a string, or a list of at most ", max));
  if (ok) out = std::move(read);
  return ok;
}

const std::vector<Value>* list_items(const Value& value) {
  return value.is(Type::sequence) ? &value.as_sequence().items : nullptr;
}

}  // namespace forge::rt
