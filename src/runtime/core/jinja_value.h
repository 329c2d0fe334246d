// Values of the Jinja evaluator: Python's None, bool, int, float, str, list, tuple, dict and what templates
// add.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/core/result.h"

namespace forge::rt::jinja {

enum class Type : uint8_t {
  missing,  // an argument that was not given; never seen by a template
  undefined,
  none,
  boolean,
  integer,
  real,
  // the rest are Objects
  string,
  sequence,
  dict,
  name_space,
  macro,
  method,
  function,
  loop,
  joiner,
  cycler,
};

// What kind of Python sequence a Sequence stands for. An iterator is a generator: it can be read once.
enum class SequenceKind : uint8_t { list, tuple, range, keys, values, items, iterator };

// A reference-counted object. Everything but namespaces, loops, macros and cyclers is immutable once shared.
struct Object {
  explicit Object(Type object_type) : type(object_type) {}
  std::atomic<uint32_t> refs{0};
  Type type;
  uint16_t depth = 0;   // levels of containers below and including this one (saturates)
  uint32_t weight = 1;  // values below and including this one, long strings counting for more (saturates)
};

struct String;
struct Sequence;
struct Dict;

class Value {
 public:
  Value() = default;  // undefined
  Value(const Value& other) : type_(other.type_), u_(other.u_) { retain(); }
  Value(Value&& other) noexcept : type_(other.type_), u_(other.u_) { other.type_ = Type::undefined; }
  Value& operator=(const Value& other) {
    Value copy(other);
    swap(copy);
    return *this;
  }
  Value& operator=(Value&& other) noexcept {
    swap(other);
    return *this;
  }
  ~Value() { release(); }
  void swap(Value& other) noexcept {
    std::swap(type_, other.type_);
    std::swap(u_, other.u_);
  }

  static Value missing() { return Value(Type::missing, 0); }
  static Value none() { return Value(Type::none, 0); }
  static Value boolean(bool b) { return Value(Type::boolean, b ? 1 : 0); }
  static Value integer(int64_t i) { return Value(Type::integer, i); }
  static Value real(double d);
  static Value string(std::string s, bool markup = false);
  static Value sequence(SequenceKind kind, std::vector<Value> items);
  static Value list(std::vector<Value> items) { return sequence(SequenceKind::list, std::move(items)); }
  static Value object(Object* o);  // takes part in the ownership of *o

  Type type() const { return type_; }
  bool is(Type t) const { return type_ == t; }
  bool is_missing() const { return type_ == Type::missing; }
  bool is_undefined() const { return type_ == Type::undefined; }
  bool is_none() const { return type_ == Type::none; }
  bool is_string() const { return type_ == Type::string; }
  bool is_integral() const { return type_ == Type::integer || type_ == Type::boolean; }
  bool is_number() const { return is_integral() || type_ == Type::real; }
  bool is_sequence(SequenceKind kind) const;
  // What the type says it is; the caller has checked it.
  bool as_bool() const { return u_.i != 0; }
  int64_t as_int() const { return u_.i; }
  double as_real() const { return type_ == Type::real ? u_.d : static_cast<double>(u_.i); }
  const std::string& as_string() const;
  Sequence& as_sequence() const;
  Dict& as_dict() const;
  Object* as_object() const { return u_.o; }

  // Levels and number of values below and including this one: what walking it costs.
  uint32_t depth() const { return is_object() ? u_.o->depth : 0; }
  uint32_t weight() const { return is_object() ? u_.o->weight : 1; }

 private:
  Value(Type type, int64_t i) : type_(type) { u_.i = i; }
  bool is_object() const { return type_ >= Type::string; }
  void retain() const {
    if (is_object()) retain(u_.o);
  }
  void release() {
    if (is_object()) release(u_.o);
  }
  static void retain(Object* o);
  static void release(Object* o);
  Type type_ = Type::undefined;
  union {
    int64_t i;
    double d;
    Object* o;
  } u_ = {0};
};

struct String : Object {
  String(std::string s, bool is_markup) : Object(Type::string), text(std::move(s)), markup(is_markup) {
    weight = static_cast<uint32_t>(1 + (text.size() >> 6));
  }
  std::string text;  // UTF-8
  bool markup;       // went through the filter `safe`
};

struct Sequence : Object {
  Sequence(SequenceKind sequence_kind, std::vector<Value> values);
  SequenceKind kind;
  std::vector<Value> items;
  size_t next = 0;              // of an iterator: the items before it have been read
  int64_t start = 0, step = 1;  // of a range
  int64_t stop = 0;
};

// An ordered dict, as Python's: keys are any hashable values, 1 == 1.0 == True.
struct Dict : Object {
  Dict() : Object(Type::dict) { depth = 1; }
  std::vector<std::pair<Value, Value>> entries;

  const Value* find(const Value& key) const;
  const Value* find(std::string_view key) const;
  void set(const Value& key, Value value);  // the key must be hashable
  void set(std::string_view key, Value value) { set(Value::string(std::string(key)), std::move(value)); }

 private:
  std::vector<uint32_t> slots_;  // open addressing over entry index + 1, used from 9 entries on
  template <class Equal>
  const Value* probe(uint64_t hash, Equal equal) const;
  void index(uint64_t hash, uint32_t entry);
};

// A Dict inside a Value, to fill before it is shared: `DictBuilder d; d->set("a", …); use(d.value())`.
struct DictBuilder {
  DictBuilder() : dict_(new Dict), value_(Value::object(dict_)) {}
  Dict* operator->() const { return dict_; }
  const Value& value() const { return value_; }

 private:
  Dict* dict_;
  Value value_;
};

// Python's name of the type: "str", "list", …
std::string_view type_name(const Value& v);
// Python's bool(v).
bool truth(const Value& v);
// Python's ==. Walks at most min(weight) values.
bool equals(const Value& a, const Value& b);
// Whether a dict can have it as a key.
bool hashable(const Value& v);
uint64_t hash_value(const Value& v);
// Appends str(v) or repr(v); false where the text is longer than `limit` or Python's would name an address in
// memory.
bool append_str(std::string& out, const Value& v, size_t limit);
bool append_repr(std::string& out, const Value& v, size_t limit);
// Appends Python's repr of a float: the shortest text that reads back as the same number.
void append_real(std::string& out, double d);

}  // namespace forge::rt::jinja
