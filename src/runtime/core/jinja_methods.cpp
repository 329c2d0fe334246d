// Methods of strings, lists, dicts, loops and cyclers.
#include <algorithm>
#include <iterator>
#include <utility>

#include "runtime/core/jinja_runtime.h"
#include "runtime/core/jinja_unicode.h"

namespace forge::rt::jinja {

namespace {

constexpr size_t npos = std::string_view::npos;

std::string_view self_text(const Call& c) { return c.self.as_string(); }
bool give_text(const Call& c, std::string s) { return c.in.make_string(std::move(s), c.out); }
bool give_text(const Call& c, std::string_view s) { return give_text(c, std::string(s)); }
bool give_bool(const Call& c, bool b) { return c.in.make_bool(b, c.out); }
bool give_int(const Call& c, size_t n) { return c.give(Value::integer(static_cast<int64_t>(n))); }
bool give_items(const Call& c, SequenceKind kind, std::vector<Value> items) {
  return c.in.charge(items.size()) && c.in.make_sequence(kind, std::move(items), c.out);
}

bool text_arg(const Call& c, size_t i, std::string_view& out) {
  return c.in.text_argument(c.args[i], "a method's argument", out);
}

// An integer argument that may be left out or none.
bool int_arg(const Call& c, size_t i, int64_t otherwise, int64_t& out) {
  out = otherwise;
  if (!c.given(i) || c.args[i].is_none()) return true;
  return c.in.int_argument(c.args[i], "a method's argument", out);
}

// ---- strings ----

enum StripKind : uint8_t { kBoth, kLeft, kRight };

bool strip_text(const Call& c) {
  std::string_view chars;
  const bool has_chars = c.given(0) && !c.args[0].is_none();
  if (has_chars && !text_arg(c, 0, chars)) return false;
  if (!c.in.charge(chars.size() / 16 * c.self.weight())) return false;
  return give_text(c, strip(self_text(c), has_chars ? &chars : nullptr, c.kind != kRight, c.kind != kLeft));
}

enum CaseKind : uint8_t { kUpper, kLower, kTitle, kCapitalize, kSwap };

bool change_case(const Call& c) {
  const std::string_view s = self_text(c);
  if (!c.in.charge(s.size() / 8)) return false;
  switch (c.kind) {
    case kUpper: return give_text(c, to_case(s, Case::upper));
    case kLower: return give_text(c, to_case(s, Case::lower));
    case kTitle: return give_text(c, title_words(s));
    case kCapitalize: return give_text(c, capitalize(s));
    default: return give_text(c, swap_case(s));
  }
}

// s[start:end] as the methods with start and end arguments mean it; false in `inside` where start lies behind
// s.
bool window(const Call& c, size_t first, std::string_view& s, size_t& offset, bool& inside) {
  int64_t start = 0, end = INT64_MAX;
  if (!int_arg(c, first, 0, start) || !int_arg(c, first + 1, INT64_MAX, end)) return false;
  offset = 0;
  inside = true;
  if (start == 0 && end == INT64_MAX) return true;
  const auto length = static_cast<int64_t>(count_code_points(s));
  const auto from_end = [&](int64_t i) { return i < 0 ? std::max<int64_t>(i + length, 0) : i; };
  start = from_end(start);
  end = std::min(from_end(end), length);
  inside = start <= end;
  if (!inside) return true;
  offset = static_cast<size_t>(start);
  const size_t begin = code_point_offset(s, offset);
  s = s.substr(begin, code_point_offset(s, static_cast<size_t>(end)) - begin);
  return true;
}

enum AffixKind : uint8_t { kStarts, kEnds };

bool has_affix(const Call& c) {
  std::string_view s = self_text(c);
  size_t offset = 0;
  bool inside = false;
  if (!window(c, 1, s, offset, inside)) return false;
  const auto matches = [&](std::string_view affix) {
    return inside && (c.kind == kStarts ? s.starts_with(affix) : s.ends_with(affix));
  };
  if (c.args[0].is_string()) return give_bool(c, matches(c.args[0].as_string()));
  if (!c.args[0].is_sequence(SequenceKind::tuple)) {
    return c.in.fail("startswith and endswith need a string or a tuple of strings");
  }
  bool found = false;
  for (const Value& v : c.args[0].as_sequence().items) {
    std::string_view affix;
    if (!c.in.text_argument(v, "a method's argument", affix)) return false;
    found = found || matches(affix);
  }
  return give_bool(c, found);
}

// The places of `needle` in s, from left to right and not overlapping, at most `limit`.
std::vector<size_t> places(std::string_view s, std::string_view needle, uint64_t limit) {
  std::vector<size_t> found;
  for (size_t pos = 0; found.size() < limit && (pos = find_text(s, needle, pos)) != npos;
       pos += needle.size()) {
    found.push_back(pos);
  }
  return found;
}

// The same from right to left, for needles that may overlap themselves; gives places in ascending order.
bool places_from_right(const Call& c, std::string_view s, std::string_view needle, uint64_t limit,
                       std::vector<size_t>& found) {
  size_t end = s.size();
  while (found.size() < limit && end >= needle.size()) {
    const size_t pos = s.substr(0, end).rfind(needle);
    // rfind compares at each place: at worst the needle's length each time.
    const size_t scanned = pos == npos ? end : end - pos;
    if (!c.in.charge(scanned / 16 * (1 + std::min(needle.size(), scanned) / 64))) return false;
    if (pos == npos) break;
    found.push_back(pos);
    end = pos;
  }
  std::reverse(found.begin(), found.end());
  return true;
}

enum FindKind : uint8_t { kFind, kIndex, kRightFind, kRightIndex };

bool find_in_text(const Call& c) {
  std::string_view s = self_text(c), needle;
  size_t offset = 0;
  bool inside = false;
  if (!text_arg(c, 0, needle) || !window(c, 1, s, offset, inside) || !c.in.charge(c.self.weight()))
    return false;
  size_t pos = npos;
  if (inside && (c.kind == kFind || c.kind == kIndex)) {
    pos = find_text(s, needle, 0);
  } else if (inside && needle.empty()) {
    pos = s.size();
  } else if (inside) {
    std::vector<size_t> found;
    if (!places_from_right(c, s, needle, 1, found)) return false;
    if (!found.empty()) pos = found[0];
  }
  if (pos != npos) return give_int(c, offset + count_code_points(s.substr(0, pos)));
  if (c.kind == kIndex || c.kind == kRightIndex) return c.in.fail("index(): the text is not found");
  return c.give(Value::integer(-1));
}

bool count_in_text(const Call& c) {
  std::string_view s = self_text(c), needle;
  size_t offset = 0;
  bool inside = false;
  if (!text_arg(c, 0, needle) || !window(c, 1, s, offset, inside) || !c.in.charge(c.self.weight()))
    return false;
  if (!inside) return give_int(c, 0);
  return give_int(c, needle.empty() ? count_code_points(s) + 1 : places(s, needle, UINT64_MAX).size());
}

enum SplitKind : uint8_t { kSplit, kRightSplit };

// Pieces between white space.
std::vector<Value> split_at_space(std::string_view s, uint64_t limit, bool from_right) {
  std::vector<Value> pieces;
  const auto add = [&](std::string_view piece) { pieces.push_back(Value::string(std::string(piece))); };
  s = strip(s, nullptr, !from_right, from_right);  // the last piece keeps its other end
  while (!s.empty() && pieces.size() < limit) {
    size_t begin = 0, end = s.size();
    if (from_right) {
      for (size_t pos = 0; pos < s.size();) {
        if (is_space(next_code_point(s, pos))) begin = pos;
      }
    } else {
      for (size_t pos = 0, at = 0; pos < s.size() && end == s.size(); at = pos) {
        if (is_space(next_code_point(s, pos))) end = at;
      }
    }
    add(s.substr(begin, end - begin));
    s = from_right ? strip(s.substr(0, begin), nullptr, false, true)
                   : strip(s.substr(end), nullptr, true, false);
  }
  if (!s.empty()) add(s);
  if (from_right) std::reverse(pieces.begin(), pieces.end());
  return pieces;
}

bool split_text(const Call& c) {
  const std::string_view s = self_text(c);
  int64_t max = -1;
  if (!int_arg(c, 1, -1, max) || !c.in.charge_bytes(s.size() * 2)) return false;
  const uint64_t limit = max < 0 ? UINT64_MAX : static_cast<uint64_t>(max);
  const bool from_right = c.kind == kRightSplit;
  if (!c.given(0) || c.args[0].is_none()) {
    // From the right, each piece scans what is left of it.
    if (from_right && !c.in.charge(std::min<uint64_t>(limit, s.size()) * (s.size() / 16))) return false;
    return give_items(c, SequenceKind::list, split_at_space(s, limit, from_right));
  }
  std::string_view separator;
  if (!text_arg(c, 0, separator)) return false;
  if (separator.empty()) return c.in.fail("split() with an empty separator");
  std::vector<size_t> at;
  if (from_right) {
    if (!places_from_right(c, s, separator, limit, at)) return false;
  } else {
    at = places(s, separator, limit);
  }
  if (!c.in.charge_bytes(at.size() * 64)) return false;
  std::vector<Value> pieces;
  size_t begin = 0;
  for (const size_t pos : at) {
    pieces.push_back(Value::string(std::string(s.substr(begin, pos - begin))));
    begin = pos + separator.size();
  }
  pieces.push_back(Value::string(std::string(s.substr(begin))));
  return give_items(c, SequenceKind::list, std::move(pieces));
}

bool is_line_break(uint32_t cp) {
  return (cp >= 0x0A && cp <= 0x0D) || (cp >= 0x1C && cp <= 0x1E) || cp == 0x85 || cp == 0x2028 ||
         cp == 0x2029;
}

bool split_lines(const Call& c) {
  const std::string_view s = self_text(c);
  const bool keep = c.given(0) && truth(c.args[0]);
  if (!c.in.charge_bytes(s.size() * 8)) return false;
  std::vector<Value> lines;
  for (size_t begin = 0, pos = 0; begin < s.size(); begin = pos) {
    size_t end = s.size();
    while (pos < s.size()) {
      const size_t at = pos;
      const uint32_t cp = next_code_point(s, pos);
      if (!is_line_break(cp)) continue;
      end = at;
      if (cp == '\r' && pos < s.size() && s[pos] == '\n') ++pos;
      break;
    }
    lines.push_back(Value::string(std::string(s.substr(begin, (keep ? pos : end) - begin))));
  }
  return give_items(c, SequenceKind::list, std::move(lines));
}

enum PartitionKind : uint8_t { kPartition, kRightPartition };

bool partition_text(const Call& c) {
  const std::string_view s = self_text(c);
  std::string_view separator;
  if (!text_arg(c, 0, separator)) return false;
  if (separator.empty()) return c.in.fail("partition() with an empty separator");
  std::vector<size_t> found;
  if (c.kind == kPartition) {
    found = places(s, separator, 1);
  } else if (!places_from_right(c, s, separator, 1, found)) {
    return false;
  }
  const bool whole_first = c.kind == kPartition;
  std::string_view parts[3] = {whole_first ? s : "", "", whole_first ? "" : s};
  if (!found.empty()) {
    parts[0] = s.substr(0, found[0]);
    parts[1] = separator;
    parts[2] = s.substr(found[0] + separator.size());
  }
  std::vector<Value> items;
  for (const std::string_view part : parts) items.push_back(Value::string(std::string(part)));
  return c.in.charge_bytes(s.size()) && give_items(c, SequenceKind::tuple, std::move(items));
}

bool replace_method(const Call& c) {
  std::string_view old, now;
  int64_t max = -1;
  if (!text_arg(c, 0, old) || !text_arg(c, 1, now) || !int_arg(c, 2, -1, max)) return false;
  std::string out;
  return replace_text(c.in, self_text(c), old, now, max, out) && give_text(c, std::move(out));
}

enum RemoveKind : uint8_t { kPrefix, kSuffix };

bool remove_affix(const Call& c) {
  std::string_view s = self_text(c), affix;
  if (!text_arg(c, 0, affix)) return false;
  if (c.kind == kPrefix && s.starts_with(affix)) s.remove_prefix(affix.size());
  if (c.kind == kSuffix && s.ends_with(affix)) s.remove_suffix(affix.size());
  return give_text(c, s);
}

enum PadKind : uint8_t { kLeftJustify, kRightJustify, kCenter, kZeroFill };

bool pad_text(const Call& c) {
  const std::string_view s = self_text(c);
  int64_t width = 0;
  std::string_view fill = c.kind == kZeroFill ? "0" : " ";
  if (!int_arg(c, 0, 0, width)) return false;
  if (c.kind != kZeroFill && c.given(1) && !text_arg(c, 1, fill)) return false;
  if (count_code_points(fill) != 1) return c.in.fail("a text is filled up with one character");
  const auto length = static_cast<int64_t>(count_code_points(s));
  if (width <= length) return give_text(c, s);
  if (width > 1'000'000) return c.in.fail("a field too wide");
  const int64_t missing = width - length;
  int64_t left = 0;
  if (c.kind == kRightJustify || c.kind == kZeroFill) left = missing;
  if (c.kind == kCenter) left = missing / 2 + (missing & width & 1);
  std::string out;
  const bool has_sign = c.kind == kZeroFill && !s.empty() && (s[0] == '-' || s[0] == '+');
  if (has_sign) out += s[0];
  for (int64_t i = 0; i < left; ++i) out += fill;
  out += s.substr(has_sign ? 1 : 0);
  for (int64_t i = left; i < missing; ++i) out += fill;
  return give_text(c, std::move(out));
}

bool join_text(const Call& c) {
  std::vector<Value> items;
  if (!c.in.iterate(c.args[0], items)) return false;
  std::string out;
  for (size_t i = 0; i < items.size(); ++i) {
    std::string_view item;
    if (!c.in.text_argument(items[i], "an item to join", item)) return false;
    if (i > 0) out += self_text(c);
    out += item;
    if (out.size() > c.in.limits.output_bytes) return c.in.fail("a joined text too long");
  }
  return give_text(c, std::move(out));
}

bool format_text(const Call& c) {
  std::string out;
  return format_braces(c.in, self_text(c), c.all, out) && give_text(c, std::move(out));
}

// Whether all characters are of a class, and there is at least one.
bool has_only(const Call& c) {
  const std::string_view s = self_text(c);
  if (!c.in.charge(s.size() / 8)) return false;
  for (size_t pos = 0; pos < s.size();) {
    const uint32_t cp = next_code_point(s, pos);
    bool any = c.kind == 0 && is_space(cp);
    for (unsigned bit = 1; bit <= c.kind; bit <<= 1) {
      if ((c.kind & bit) != 0) any = any || has_class(cp, static_cast<CharClass>(bit));
    }
    if (!any) return give_bool(c, false);
  }
  return give_bool(c, !s.empty());
}

bool is_ascii(const Call& c) {
  const std::string_view s = self_text(c);
  return give_bool(c,
                   std::all_of(s.begin(), s.end(), [](char ch) { return static_cast<uint8_t>(ch) < 0x80; }));
}

enum CaseTest : uint8_t { kIsUpper, kIsLower, kIsTitle };

bool test_case(const Call& c) {
  const std::string_view s = self_text(c);
  if (!c.in.charge(s.size() / 8)) return false;
  if (c.kind != kIsTitle) return give_bool(c, is_all_case(s, c.kind == kIsUpper));
  bool any = false, after_cased = false;
  for (size_t pos = 0; pos < s.size();) {
    const uint32_t cp = next_code_point(s, pos);
    const bool capital = has_class(cp, CharClass::upper) || has_class(cp, CharClass::title);
    const bool small = has_class(cp, CharClass::lower);
    if ((capital && after_cased) || (small && !after_cased)) return give_bool(c, false);
    after_cased = capital || small;
    any |= after_cased;
  }
  return give_bool(c, any);
}

// ---- lists, tuples, dicts ----

bool count_or_index(const Call& c) {
  const bool is_index = c.kind != 0;
  size_t n = 0, at = 0;
  for (const Value& v : c.self.as_sequence().items) {
    if (!c.in.charge(std::min(v.weight(), c.args[0].weight()))) return false;
    if (equals(v, c.args[0])) {
      if (is_index) return give_int(c, at);
      ++n;
    }
    ++at;
  }
  return is_index ? c.in.fail("index(): the value is not in the list") : give_int(c, n);
}

bool copy_value(const Call& c) { return c.give(c.self); }

enum ViewKind : uint8_t { kKeys, kValues, kItems };

bool dict_view(const Call& c) {
  std::vector<Value> items;
  for (const auto& [key, value] : c.self.as_dict().entries) {
    if (c.kind == kItems) {
      items.push_back(Value::sequence(SequenceKind::tuple, {key, value}));
    } else {
      items.push_back(c.kind == kKeys ? key : value);
    }
  }
  const SequenceKind kind = c.kind == kKeys     ? SequenceKind::keys
                            : c.kind == kValues ? SequenceKind::values
                                                : SequenceKind::items;
  return c.in.charge_bytes(items.size() * 96) && give_items(c, kind, std::move(items));
}

bool dict_get(const Call& c) {
  if (!hashable(c.args[0])) return c.in.fail(text("unhashable type: '", type_name(c.args[0]), "'"));
  const Value* found = c.self.as_dict().find(c.args[0]);
  return c.give(found != nullptr ? *found : c.given(1) ? c.args[1] : Value::none());
}

// ---- loops and cyclers ----

bool loop_cycle(const Call& c) {
  const auto& items = c.all.positional;
  if (items.empty()) return c.in.fail("loop.cycle() needs items");
  const int64_t i = static_cast<Loop*>(c.self.as_object())->index0;
  return c.give(items[static_cast<size_t>(std::max<int64_t>(i, 0)) % items.size()]);
}

bool loop_changed(const Call& c) {
  Loop& loop = *static_cast<Loop*>(c.self.as_object());
  Value now;
  if (!c.in.make_sequence(SequenceKind::tuple, c.all.positional, now) || !c.in.charge(now.weight()))
    return false;
  const bool changed = loop.changed_value.is_undefined() || !equals(loop.changed_value, now);
  loop.changed_value = std::move(now);
  return give_bool(c, changed);
}

bool cycler_next(const Call& c) {
  Cycler& cycler = *static_cast<Cycler*>(c.self.as_object());
  c.out = cycler.items[cycler.position];
  cycler.position = (cycler.position + 1) % cycler.items.size();
  return true;
}

bool cycler_reset(const Call& c) {
  static_cast<Cycler*>(c.self.as_object())->position = 0;
  return c.give(Value::none());
}

constexpr auto bits(CharClass a) { return static_cast<uint8_t>(a); }
template <class... Classes>
constexpr uint8_t bits(CharClass a, Classes... more) {
  return static_cast<uint8_t>(bits(a) | bits(more...));
}
constexpr uint8_t kNumeric = bits(CharClass::decimal, CharClass::digit, CharClass::numeric);

constexpr MethodEntry kMethods[] = {
    {{"strip", "chars", 0, kBoth, strip_text}, kOfString},
    {{"lstrip", "chars", 0, kLeft, strip_text}, kOfString},
    {{"rstrip", "chars", 0, kRight, strip_text}, kOfString},
    {{"upper", "", 0, kUpper, change_case}, kOfString},
    {{"lower", "", 0, kLower, change_case}, kOfString},
    {{"title", "", 0, kTitle, change_case}, kOfString},
    {{"capitalize", "", 0, kCapitalize, change_case}, kOfString},
    {{"swapcase", "", 0, kSwap, change_case}, kOfString},
    {{"startswith", "prefix start end", 1, kStarts, has_affix}, kOfString},
    {{"endswith", "suffix start end", 1, kEnds, has_affix}, kOfString},
    {{"find", "sub start end", 1, kFind, find_in_text}, kOfString},
    {{"index", "sub start end", 1, kIndex, find_in_text}, kOfString},
    {{"rfind", "sub start end", 1, kRightFind, find_in_text}, kOfString},
    {{"rindex", "sub start end", 1, kRightIndex, find_in_text}, kOfString},
    {{"count", "sub start end", 1, 0, count_in_text}, kOfString},
    {{"split", "sep maxsplit", 0, kSplit, split_text}, kOfString},
    {{"rsplit", "sep maxsplit", 0, kRightSplit, split_text}, kOfString},
    {{"splitlines", "keepends", 0, 0, split_lines}, kOfString},
    {{"partition", "sep", 1, kPartition, partition_text}, kOfString},
    {{"rpartition", "sep", 1, kRightPartition, partition_text}, kOfString},
    {{"replace", "old new count", 2, 0, replace_method}, kOfString},
    {{"removeprefix", "prefix", 1, kPrefix, remove_affix}, kOfString},
    {{"removesuffix", "suffix", 1, kSuffix, remove_affix}, kOfString},
    {{"ljust", "width fillchar", 1, kLeftJustify, pad_text}, kOfString},
    {{"rjust", "width fillchar", 1, kRightJustify, pad_text}, kOfString},
    {{"center", "width fillchar", 1, kCenter, pad_text}, kOfString},
    {{"zfill", "width", 1, kZeroFill, pad_text}, kOfString},
    {{"join", "iterable", 1, 0, join_text}, kOfString},
    {{"format", "*", 0, 0, format_text}, kOfString},
    {{"isspace", "", 0, 0, has_only}, kOfString},
    {{"isalpha", "", 0, bits(CharClass::alpha), has_only}, kOfString},
    {{"isdecimal", "", 0, bits(CharClass::decimal), has_only}, kOfString},
    {{"isdigit", "", 0, bits(CharClass::digit), has_only}, kOfString},
    {{"isnumeric", "", 0, bits(CharClass::numeric), has_only}, kOfString},
    {{"isalnum", "", 0, kNumeric | bits(CharClass::alpha), has_only}, kOfString},
    {{"isascii", "", 0, 0, is_ascii}, kOfString},
    {{"isupper", "", 0, kIsUpper, test_case}, kOfString},
    {{"islower", "", 0, kIsLower, test_case}, kOfString},
    {{"istitle", "", 0, kIsTitle, test_case}, kOfString},
    {{"count", "value", 1, 0, count_or_index}, kOfSequence},
    {{"index", "value", 1, 1, count_or_index}, kOfSequence},
    {{"copy", "", 0, 0, copy_value}, kOfSequence | kOfDict},
    {{"keys", "", 0, kKeys, dict_view}, kOfDict},
    {{"values", "", 0, kValues, dict_view}, kOfDict},
    {{"items", "", 0, kItems, dict_view}, kOfDict},
    {{"get", "key default", 1, 0, dict_get}, kOfDict},
    {{"cycle", "*", 0, 0, loop_cycle}, kOfLoop},
    {{"changed", "*", 0, 0, loop_changed}, kOfLoop},
    {{"next", "", 0, 0, cycler_next}, kOfCycler},
    {{"reset", "", 0, 0, cycler_reset}, kOfCycler},
};

constexpr std::string_view kListMutators[] = {"append", "reverse", "insert", "sort",
                                              "extend", "remove",  "pop",    "clear"};
constexpr std::string_view kDictMutators[] = {"clear", "pop", "popitem", "setdefault", "update"};

template <class Names>
bool is_one_of(const Names& names, std::string_view name) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

uint8_t type_bit(const Value& v) {
  switch (v.type()) {
    case Type::string: return kOfString;
    case Type::dict: return kOfDict;
    case Type::loop: return kOfLoop;
    case Type::cycler: return kOfCycler;
    case Type::sequence: {
      const SequenceKind kind = v.as_sequence().kind;
      const bool has_methods =
          kind == SequenceKind::list || kind == SequenceKind::tuple || kind == SequenceKind::range;
      return has_methods ? kOfSequence : 0;
    }
    default: return 0;
  }
}

}  // namespace

bool is_all_case(std::string_view s, bool upper) {
  bool any = false;
  for (size_t pos = 0; pos < s.size();) {
    const uint32_t cp = next_code_point(s, pos);
    if (has_class(cp, CharClass::title) || has_class(cp, upper ? CharClass::lower : CharClass::upper))
      return false;
    any |= has_class(cp, upper ? CharClass::upper : CharClass::lower);
  }
  return any;
}

bool replace_text(Interpreter& in, std::string_view s, std::string_view old, std::string_view now,
                  int64_t max, std::string& out) {
  const uint64_t limit = max < 0 ? UINT64_MAX : static_cast<uint64_t>(max);
  if (!in.charge(s.size() / 16)) return false;
  if (old.empty()) {  // before every character and at the end
    size_t pos = 0;
    for (uint64_t n = 0; n < limit && out.size() <= in.limits.output_bytes; ++n) {
      out += now;
      if (pos >= s.size()) break;
      const size_t begin = pos;
      next_code_point(s, pos);
      out += s.substr(begin, pos - begin);
    }
    out += s.substr(pos);
    return true;
  }
  size_t begin = 0;
  for (const size_t pos : places(s, old, limit)) {
    out.append(s.substr(begin, pos - begin)).append(now);
    begin = pos + old.size();
    if (out.size() > in.limits.output_bytes) return in.fail("a replaced text too long");
  }
  out += s.substr(begin);
  return true;
}

bool is_method_name(std::string_view name) {
  return std::any_of(std::begin(kMethods), std::end(kMethods),
                     [&](const MethodEntry& m) { return m.builtin.name == name; });
}

const Builtin* find_method(const Value& v, std::string_view name) {
  const uint8_t bit = type_bit(v);
  for (const MethodEntry& method : kMethods) {
    if ((method.types & bit) != 0 && method.builtin.name == name) return &method.builtin;
  }
  return nullptr;
}

bool is_mutator(const Value& v, std::string_view name) {
  if (v.is(Type::dict)) return is_one_of(kDictMutators, name);
  return v.is_sequence(SequenceKind::list) && is_one_of(kListMutators, name);
}

bool is_mutator_name(std::string_view name) {
  return is_one_of(kListMutators, name) || is_one_of(kDictMutators, name);
}

}  // namespace forge::rt::jinja
