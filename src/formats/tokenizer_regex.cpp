#include "formats/tokenizer_regex.h"

#include <algorithm>
#include <map>
#include <optional>
#include <unordered_map>
#include <utility>

#include "core/error.h"
#include "formats/gguf_encoding.h"
#include "runtime/core/unicode.h"

namespace forge {
namespace {

namespace format = rt::tokenizer_format;

constexpr uint32_t kLastCodePoint = 0x10ffff;

// ---- sets of characters ----

struct Range {
  uint32_t first, last;
  bool operator==(const Range&) const = default;
  auto operator<=>(const Range&) const = default;
};
using CharSet = std::vector<Range>;  // ascending, apart from each other

CharSet normalized(CharSet set) {
  std::sort(set.begin(), set.end());
  CharSet out;
  for (const Range& r : set) {
    if (!out.empty() && r.first <= out.back().last + 1) {
      out.back().last = std::max(out.back().last, r.last);
    } else {
      out.push_back(r);
    }
  }
  return out;
}

CharSet complement(const CharSet& set) {
  CharSet out;
  uint32_t next = 0;
  for (const Range& r : set) {
    if (r.first > next) out.push_back({next, r.first - 1});
    next = r.last + 1;
  }
  if (next <= kLastCodePoint) out.push_back({next, kLastCodePoint});
  return out;
}

CharSet united(CharSet a, const CharSet& b) {
  a.insert(a.end(), b.begin(), b.end());
  return normalized(std::move(a));
}

CharSet intersected(const CharSet& a, const CharSet& b) {
  return complement(united(complement(a), complement(b)));
}

// All characters of these categories.
CharSet of_classes(rt::CharClass classes) {
  struct Run {
    Range range;
    rt::CharClass classes;
  };
  static const std::vector<Run> runs = [] {
    std::vector<Run> all;
    for (uint32_t cp = 0; cp <= kLastCodePoint; ++cp) {
      const rt::CharClass c = rt::char_class(cp);
      if (all.empty() || all.back().classes != c) all.push_back({{cp, cp}, c});
      all.back().range.last = cp;
    }
    return all;
  }();
  CharSet out;
  for (const Run& run : runs) {
    if ((run.classes & classes) != 0) out.push_back(run.range);
  }
  return normalized(std::move(out));
}

// What Oniguruma's \w matches: Unicode's property Alphabetic, marks, decimal digits and connectors.
CharSet word_characters() {
  using rt::bit;
  using rt::Category;
  constexpr rt::CharClass kClasses = rt::kLetter | bit(Category::Nl) | bit(Category::Mn) | bit(Category::Mc) |
                                     bit(Category::Me) | bit(Category::Nd) | bit(Category::Pc);
  // The symbols that are alphabetic: circled and squared letters; and its own ² ³ ¹ ¼ ½ ¾.
  return united(of_classes(kClasses), {{0xb2, 0xb3},
                                       {0xb9, 0xb9},
                                       {0xbc, 0xbe},
                                       {0x24b6, 0x24e9},
                                       {0x1f130, 0x1f149},
                                       {0x1f150, 0x1f169},
                                       {0x1f170, 0x1f189}});
}

std::optional<rt::CharClass> classes_of_property(std::string_view name) {
  using rt::bit;
  using rt::Category;
  static const std::map<std::string_view, rt::CharClass> kProperties = {
      {"L", rt::kLetter},
      {"Lu", bit(Category::Lu)},
      {"Ll", bit(Category::Ll)},
      {"Lt", bit(Category::Lt)},
      {"Lm", bit(Category::Lm)},
      {"Lo", bit(Category::Lo)},
      {"M", bit(Category::Mn) | bit(Category::Mc) | bit(Category::Me)},
      {"Mn", bit(Category::Mn)},
      {"Mc", bit(Category::Mc)},
      {"Me", bit(Category::Me)},
      {"N", rt::kNumber},
      {"Nd", bit(Category::Nd)},
      {"Nl", bit(Category::Nl)},
      {"No", bit(Category::No)},
      {"P", rt::kPunctuation},
      {"Pc", bit(Category::Pc)},
      {"Pd", bit(Category::Pd)},
      {"Pe", bit(Category::Pe)},
      {"Pf", bit(Category::Pf)},
      {"Pi", bit(Category::Pi)},
      {"Po", bit(Category::Po)},
      {"Ps", bit(Category::Ps)},
      {"S", bit(Category::Sc) | bit(Category::Sk) | bit(Category::Sm) | bit(Category::So)},
      {"Sc", bit(Category::Sc)},
      {"Sk", bit(Category::Sk)},
      {"Sm", bit(Category::Sm)},
      {"So", bit(Category::So)},
      {"Z", bit(Category::Zl) | bit(Category::Zp) | bit(Category::Zs)},
      {"Zl", bit(Category::Zl)},
      {"Zp", bit(Category::Zp)},
      {"Zs", bit(Category::Zs)},
      {"C",
       bit(Category::Cc) | bit(Category::Cf) | bit(Category::Cn) | bit(Category::Co) | bit(Category::Cs)},
      {"Cc", bit(Category::Cc)},
      {"Cf", bit(Category::Cf)},
      {"Cn", bit(Category::Cn)},
      {"Co", bit(Category::Co)},
      {"Letter", rt::kLetter},
      {"Number", rt::kNumber},
      {"Punctuation", rt::kPunctuation},
      {"White_Space", rt::kWhitespace},
  };
  const auto it = kProperties.find(name);
  if (it == kProperties.end()) return std::nullopt;
  return it->second;
}

// How messages name an expression.
std::string quoted(std::string_view expression) { return "regular expression " + quote(expression); }

// ---- syntax ----

enum class Kind : uint8_t {
  set,          // one character
  concat,       // all children
  alternative,  // the first child that leads to a match
  repeat,       // the only child, min to max times
  look,         // consumes nothing: the next character is in the set, or the text ends and at_end
};

constexpr uint32_t kUnlimited = UINT32_MAX;

struct Node {
  Kind kind = Kind::concat;
  CharSet set;
  bool at_end = false;
  uint32_t min = 0, max = 0;
  bool lazy = false;
  std::vector<Node> children;
};

Node set_node(CharSet set) { return {.kind = Kind::set, .set = std::move(set)}; }

class Parser {
 public:
  explicit Parser(std::string_view expression) : text_(expression) {}

  Node parse() {
    if (text_.size() > kMaxBytes)
      bad(fmt::format("is {} bytes long; expected at most {}", text_.size(), kMaxBytes));
    Node node = alternatives(0);
    if (at_ < text_.size()) bad("has a ')' without '('");
    return node;
  }

 private:
  static constexpr size_t kMaxBytes = 1 << 14;
  static constexpr int kMaxDepth = 50;
  static constexpr uint32_t kMaxRepeats = 1000;

  [[noreturn]] void bad(const std::string& what) const { fail("{}: {}", quoted(text_), what); }
  bool ended() const { return at_ >= text_.size(); }
  bool starts_with(std::string_view s) const { return text_.substr(at_).starts_with(s); }
  bool take(std::string_view s) {
    if (!starts_with(s)) return false;
    at_ += s.size();
    return true;
  }
  uint32_t next_char() {
    if (ended()) bad("ends in the middle");
    const rt::CodePoint cp = rt::decode_utf8(text_, at_);
    at_ += cp.bytes;
    return cp.value;
  }

  Node alternatives(int depth) {
    if (depth > kMaxDepth) bad("is nested too deeply");
    Node either{.kind = Kind::alternative};
    const bool ignore_case = ignore_case_;  // (?i) holds to the end of the group
    do {
      Node sequence{.kind = Kind::concat};
      while (!ended() && !starts_with("|") && !starts_with(")")) {
        Node item = atom(depth);
        item = quantified(std::move(item));
        sequence.children.push_back(std::move(item));
      }
      either.children.push_back(std::move(sequence));
    } while (take("|"));
    ignore_case_ = ignore_case;
    return either.children.size() == 1 ? std::move(either.children[0]) : either;
  }

  Node quantified(Node item) {
    for (int n = 0;; ++n) {
      uint32_t min = 0, max = kUnlimited;
      const bool counted = starts_with("{");
      if (counted) {
        if (!counts(min, max)) return item;
      } else if (take("+")) {
        min = 1;
      } else if (take("?")) {
        max = 1;
      } else if (!take("*")) {
        return item;
      }
      if (n >= kMaxDepth) bad("is nested too deeply");
      if (item.kind == Kind::look) bad("repeats a look-ahead, which is not supported");
      const bool possessive = !counted && take("+");
      Node repeat{.kind = Kind::repeat, .min = min, .max = max, .lazy = !possessive && take("?")};
      const CharSet set = item.set;
      if (possessive && item.kind != Kind::set) {
        bad("has a possessive quantifier behind more than one character, which is not supported");
      }
      repeat.children.push_back(std::move(item));
      item = possessive ? without_giving_back(std::move(repeat), set) : std::move(repeat);
    }
  }

  // X++ is X+(?![X]), and X?+ is X|(?![X]).
  static Node without_giving_back(Node repeat, const CharSet& set) {
    Node stop{.kind = Kind::look, .set = complement(set), .at_end = true};
    const bool optional = repeat.max == 1;
    Node out{.kind = optional ? Kind::alternative : Kind::concat};
    out.children.push_back(optional ? std::move(repeat.children[0]) : std::move(repeat));
    out.children.push_back(std::move(stop));
    return out;
  }

  // "{3}", "{1,3}", "{2,}", "{,3}"; false, and nothing taken, where the brace stands for itself.
  bool counts(uint32_t& min, uint32_t& max) {
    size_t i = at_ + 1;
    const auto number = [&]() -> std::optional<uint32_t> {
      const size_t start = i;
      uint32_t n = 0;
      for (; i < text_.size() && text_[i] >= '0' && text_[i] <= '9'; ++i) {
        n = std::min<uint32_t>(n * 10 + static_cast<uint32_t>(text_[i] - '0'), kMaxRepeats + 1);
      }
      return i == start ? std::nullopt : std::optional(n);
    };
    const auto low = number();
    std::optional<uint32_t> high = low;
    const bool comma = i < text_.size() && text_[i] == ',';
    if (comma) {
      ++i;
      high = number();
    }
    if (i >= text_.size() || text_[i] != '}' || (!low && !high)) return false;
    min = low.value_or(0);
    max = high.value_or(kUnlimited);
    if (min > kMaxRepeats || (max != kUnlimited && max > kMaxRepeats)) {
      bad(fmt::format("repeats more than {} times", kMaxRepeats));
    }
    if (min > max) bad("has a count whose minimum is above its maximum");
    at_ = i + 1;
    return true;
  }

  Node atom(int depth) {
    if (take("(")) return group(depth);
    if (take("[")) return set_node(folded(char_class(depth)));
    if (take(".")) return set_node(complement({{'\n', '\n'}}));
    // Ruby's ^ and $ are those of lines.
    if (take("$")) return {.kind = Kind::look, .set = {{'\n', '\n'}}, .at_end = true};
    if (starts_with("^")) bad("'^' outside of a class is not supported");
    for (const char c : {'*', '+', '?'}) {
      if (text_[at_] == c) bad(fmt::format("has a '{}' with nothing before it", c));
    }
    if (take("\\")) {
      if (take("z")) return {.kind = Kind::look, .at_end = true};
      if (const auto set = escaped_class()) return set_node(*set);
      const uint32_t cp = escaped_char(false);
      return set_node(folded({{cp, cp}}));
    }
    const uint32_t cp = next_char();
    return set_node(folded({{cp, cp}}));
  }

  Node group(int depth) {
    Node inner;
    if (take("?=") || take("?!")) {
      const bool negative = text_[at_ - 1] == '!';
      inner = alternatives(depth + 1);
      close();
      return look_ahead(inner, negative);
    }
    const bool ignore_case = ignore_case_;
    if (take("?i)")) {
      ignore_case_ = true;
      return {.kind = Kind::concat};
    }
    if (take("?i:")) {
      ignore_case_ = true;
    } else if (take("?-i:")) {
      ignore_case_ = false;
    } else if (!take("?:") && starts_with("?")) {
      bad(fmt::format("a group that begins with {} is not supported", quote(text_.substr(at_ - 1, 4))));
    }
    inner = alternatives(depth + 1);
    close();
    ignore_case_ = ignore_case;
    return inner;
  }
  void close() {
    if (!take(")")) bad("has a '(' without ')'");
  }

  Node look_ahead(const Node& inner, bool negative) const {
    const auto simple = [&](const Node& n) -> const Node* {
      const Node* one = &n;
      while ((one->kind == Kind::concat) && one->children.size() == 1) one = one->children.data();
      return one->kind == Kind::set || one->kind == Kind::look ? one : nullptr;
    };
    Node out{.kind = Kind::look};
    const auto add = [&](const Node& n) {
      const Node* one = simple(n);
      if (one == nullptr) bad("looks ahead at more than one character, which is not supported");
      out.set = united(std::move(out.set), one->set);
      out.at_end |= one->at_end;
    };
    if (inner.kind == Kind::alternative) {
      for (const Node& child : inner.children) add(child);
    } else {
      add(inner);
    }
    if (negative) {
      out.set = complement(out.set);
      out.at_end = !out.at_end;
    }
    return out;
  }

  // Behind '['.
  CharSet char_class(int depth) {
    if (depth > kMaxDepth) bad("is nested too deeply");
    const bool negated = take("^");
    CharSet set;
    std::optional<CharSet> left;  // of &&
    bool first = true;
    for (;; first = false) {
      if (ended()) bad("has a '[' without ']'");
      if (take("]")) {
        if (!first) break;
        set.push_back({']', ']'});
        continue;
      }
      if (starts_with("[:")) bad("a POSIX bracket is not supported");
      if (take("&&")) {
        set = normalized(std::move(set));
        left = left ? intersected(*left, set) : set;
        set.clear();
        continue;
      }
      if (take("[")) {
        const CharSet inner = char_class(depth + 1);
        set.insert(set.end(), inner.begin(), inner.end());
        continue;
      }
      uint32_t low;
      if (take("\\")) {
        if (const auto inner = escaped_class()) {
          set.insert(set.end(), inner->begin(), inner->end());
          continue;
        }
        low = escaped_char(true);
      } else {
        low = next_char();
      }
      uint32_t high = low;
      if (starts_with("-") && text_.substr(at_ + 1, 1) != "]" && at_ + 1 < text_.size()) {
        ++at_;
        if (starts_with("[")) bad("has a range that ends in a class");
        if (take("\\")) {
          if (escaped_class()) bad("has a range that ends in a class");
          high = escaped_char(true);
        } else {
          high = next_char();
        }
        if (high < low) bad("has a range that ends before it begins");
      }
      set.push_back({low, high});
    }
    set = normalized(std::move(set));
    if (left) set = intersected(*left, set);
    // Case is folded before negation: (?i:[^s]) is neither s nor S.
    return negated ? complement(folded(std::move(set))) : set;
  }

  // Behind '\': \s \S \d \D \w \W \p{…} \P{…}.
  std::optional<CharSet> escaped_class() {
    using rt::bit;
    using rt::Category;
    if (take("s")) return of_classes(rt::kWhitespace);
    if (take("S")) return complement(of_classes(rt::kWhitespace));
    if (take("d")) return of_classes(bit(Category::Nd));
    if (take("D")) return complement(of_classes(bit(Category::Nd)));
    if (take("w")) return word_characters();
    if (take("W")) return complement(word_characters());
    bool negated = starts_with("P");
    if (!take("p") && !take("P")) return std::nullopt;
    std::string_view name;
    if (take("{")) {
      if (take("^")) negated = !negated;
      const size_t end = text_.find('}', at_);
      if (end == std::string_view::npos) bad("has a '\\p{' without '}'");
      name = text_.substr(at_, end - at_);
      at_ = end + 1;
    } else {
      name = text_.substr(at_, 1);
      at_ += name.size();
    }
    const auto classes = classes_of_property(name);
    if (!classes) bad(fmt::format("the character property {} is not supported", quote(name)));
    if (ignore_case_ && (name == "Lu" || name == "Ll" || name == "Lt")) {
      bad("a property of case inside of (?i…) is not supported");
    }
    CharSet set = of_classes(*classes);
    return negated ? complement(set) : set;
  }

  // Behind '\'.
  uint32_t escaped_char(bool in_class) {
    const auto hex = [&](size_t digits, std::string_view closing) {
      uint32_t value = 0;
      size_t n = 0;
      for (; n < digits && !ended(); ++n) {
        const char c = text_[at_];
        const bool is_digit = c >= '0' && c <= '9';
        const char lower = static_cast<char>(c | 0x20);
        if (!is_digit && (lower < 'a' || lower > 'f')) break;
        value = value * 16 + static_cast<uint32_t>(is_digit ? c - '0' : lower - 'a' + 10);
        ++at_;
      }
      if (n == 0 || value > kLastCodePoint || !take(closing)) bad("has a bad \\x or \\u");
      return value;
    };
    if (take("x{")) return hex(8, "}");
    if (take("x")) return hex(2, "");
    if (take("u")) return hex(4, "");
    const uint32_t cp = next_char();
    switch (cp) {
      case 'n': return '\n';
      case 'r': return '\r';
      case 't': return '\t';
      case 'f': return '\f';
      case 'v': return '\v';
      case 'a': return '\a';
      case 'e': return 0x1b;
      case '0': return 0;
      case 'b':
        if (in_class) return '\b';
        break;
      default: break;
    }
    const bool alphanumeric =
        (cp >= '0' && cp <= '9') || (cp >= 'a' && cp <= 'z') || (cp >= 'A' && cp <= 'Z');
    if (alphanumeric) bad(fmt::format("'\\{}' is not supported", static_cast<char>(cp)));
    return cp;
  }

  // With (?i): the other cases of ASCII letters, two of which are outside of ASCII.
  CharSet folded(CharSet set) const {
    if (!ignore_case_) return set;
    const auto contains = [&](uint32_t cp) {
      return std::any_of(set.begin(), set.end(),
                         [&](const Range& r) { return r.first <= cp && cp <= r.last; });
    };
    CharSet more;
    const auto add = [&](uint32_t cp) { more.push_back({cp, cp}); };
    for (uint32_t lower = 'a'; lower <= 'z'; ++lower) {
      const uint32_t upper = lower - 'a' + 'A';
      const uint32_t other = lower == 's' ? 0x17f : lower == 'k' ? 0x212a : lower;  // long s, kelvin
      if (!contains(lower) && !contains(upper) && !contains(other)) continue;
      for (const uint32_t cp : {lower, upper, other}) add(cp);
    }
    for (const Range& r : set) {
      if (r.first != r.last || r.first < 0x80) continue;
      const rt::CharClass c = rt::char_class(r.first);
      if ((c & (rt::bit(rt::Category::Lu) | rt::bit(rt::Category::Ll) | rt::bit(rt::Category::Lt))) != 0 &&
          r.first != 0x17f && r.first != 0x212a) {
        bad("a letter outside of ASCII inside of (?i…) is not supported");
      }
    }
    return united(std::move(set), normalized(std::move(more)));
  }

  std::string_view text_;
  size_t at_ = 0;
  bool ignore_case_ = false;
};

// ---- the automaton ----

// Numbers the sets that an automaton tests.
class SetTable {
 public:
  uint32_t add(const CharSet& set) {
    const auto [it, is_new] = numbers_.emplace(set, static_cast<uint32_t>(sets_.size()));
    if (is_new) sets_.push_back(set);
    return it->second;
  }
  const std::vector<CharSet>& sets() const { return sets_; }

 private:
  std::map<CharSet, uint32_t> numbers_;
  std::vector<CharSet> sets_;
};

// Thompson's construction; of two ways out of a state the first is preferred.
struct State {
  enum class Kind : uint8_t { take, look, fork, match } kind = Kind::match;
  uint32_t set = 0;  // take, look
  bool at_end = false;
  uint32_t next = 0, other = 0;  // other: fork
};

struct Automaton {
  std::vector<State> states;
  uint32_t start = 0;
};

class Builder {
 public:
  Builder(std::string_view expression, SetTable& sets) : expression_(expression), sets_(sets) {}

  Automaton build(const Node& node) {
    const uint32_t match = add({.kind = State::Kind::match});
    const uint32_t start = before(node, match);
    return {std::move(states_), start};
  }

 private:
  uint32_t add(State state) {
    constexpr size_t kMaxStates = 20000;
    if (states_.size() >= kMaxStates) fail("{}: is too large", quoted(expression_));
    states_.push_back(state);
    return static_cast<uint32_t>(states_.size()) - 1;
  }

  // The state from which `node` leads to `next`.
  uint32_t before(const Node& node, uint32_t next) {
    switch (node.kind) {
      case Kind::set: return add({.kind = State::Kind::take, .set = sets_.add(node.set), .next = next});
      case Kind::look:
        return add(
            {.kind = State::Kind::look, .set = sets_.add(node.set), .at_end = node.at_end, .next = next});
      case Kind::concat:
        for (size_t i = node.children.size(); i-- > 0;) next = before(node.children[i], next);
        return next;
      case Kind::alternative: {
        uint32_t first = before(node.children.back(), next);
        for (size_t i = node.children.size() - 1; i-- > 0;)
          first = fork(before(node.children[i], next), first, false);
        return first;
      }
      case Kind::repeat: break;
    }
    const Node& item = node.children[0];
    if (node.max == kUnlimited) {
      const uint32_t loop = add({.kind = State::Kind::fork});
      const uint32_t body = before(item, loop);
      states_[loop].next = node.lazy ? next : body;
      states_[loop].other = node.lazy ? body : next;
      next = loop;
    } else {
      const uint32_t after = next;
      for (uint32_t i = node.min; i < node.max; ++i) next = fork(before(item, next), after, node.lazy);
    }
    for (uint32_t i = 0; i < node.min; ++i) next = before(item, next);
    return next;
  }
  uint32_t fork(uint32_t first, uint32_t second, bool swapped) {
    return add(
        {.kind = State::Kind::fork, .next = swapped ? second : first, .other = swapped ? first : second});
  }

  std::string_view expression_;
  SetTable& sets_;
  std::vector<State> states_;
};

// The coarsest partition of the characters in which every set is a union of classes.
struct Partition {
  std::vector<std::pair<uint32_t, uint8_t>> starts;  // first code point of an interval, its class; ascending
  std::vector<std::vector<bool>> members;            // [class][set]
};

Partition partition(const std::vector<CharSet>& sets) {
  constexpr size_t kMaxSets = 256, kMaxClasses = 255;
  if (sets.size() > kMaxSets)
    fail("regular expressions: {} different character classes; expected at most {}", sets.size(), kMaxSets);
  std::map<uint32_t, std::vector<uint32_t>> changes;  // where sets begin or end
  changes[0];
  for (uint32_t s = 0; s < sets.size(); ++s) {
    for (const Range& r : sets[s]) {
      changes[r.first].push_back(s);
      if (r.last < kLastCodePoint) changes[r.last + 1].push_back(s);
    }
  }
  Partition out;
  std::map<std::vector<bool>, uint8_t> classes;
  std::vector<bool> inside(sets.size());
  for (const auto& [cp, changed] : changes) {
    for (const uint32_t s : changed) inside[s] = !inside[s];
    const auto [it, is_new] = classes.emplace(inside, static_cast<uint8_t>(classes.size()));
    if (is_new) {
      out.members.push_back(inside);
      if (classes.size() > kMaxClasses)
        fail("regular expressions: more than {} classes of characters", kMaxClasses);
    }
    out.starts.emplace_back(cp, it->second);
  }
  return out;
}

// The subset construction. A state of the result is the list of the states where threads wait for a character,
// the preferred thread first; threads behind one that has matched are dropped, which gives the match that a
// backtracking matcher finds. Whether a thread passes a look-ahead, and so whether there is a match, is known
// when the next character is: that is why a match is marked on a transition.
class Determinizer {
 public:
  Determinizer(std::string_view expression, const Automaton& automaton, const Partition& classes)
      : expression_(expression),
        nfa_(automaton),
        classes_(classes),
        seen_(automaton.states.size()),
        queued_(automaton.states.size()) {}

  // Appends the rows of the transition table; their number.
  uint32_t append_to(std::vector<uint16_t>& transitions) {
    const auto n_classes = static_cast<uint32_t>(classes_.members.size());
    number({});  // the dead state
    number({nfa_.start});
    for (size_t s = 0; s < lists_.size(); ++s) {
      for (uint32_t c = 0; c <= n_classes; ++c) {
        const bool at_end = c == n_classes;
        const auto [next, matches] = step(*lists_[s], at_end ? nullptr : &classes_.members[c]);
        if (matches && s == format::kStartState) {
          fail("{}: matches the empty text, which is not supported", quoted(expression_));
        }
        transitions.push_back(
            static_cast<uint16_t>((at_end ? format::kDeadState : next) | (matches ? format::kMatchBit : 0)));
      }
    }
    return static_cast<uint32_t>(lists_.size());
  }

 private:
  using List = std::vector<uint32_t>;

  uint16_t number(List list) {
    const auto [it, is_new] = numbers_.emplace(std::move(list), static_cast<uint16_t>(lists_.size()));
    if (is_new) {
      if (lists_.size() >= kMaxStates) too_large();
      lists_.push_back(&it->first);
    }
    return it->second;
  }

  // Where a character of a class (null: the end) leads, and whether there is a match before it.
  std::pair<uint16_t, bool> step(const List& list, const std::vector<bool>* class_sets) {
    ++round_;
    List next;
    bool matches = false;
    for (size_t i = 0; i < list.size() && !matches; ++i) {
      stack_.push_back(list[i]);
      while (!stack_.empty()) {
        const uint32_t at = stack_.back();
        stack_.pop_back();
        if (seen_[at] == round_) continue;
        seen_[at] = round_;
        if (++work_ > kMaxWork) too_large();
        const State& s = nfa_.states[at];
        if (s.kind == State::Kind::match) {
          matches = true;
          stack_.clear();
          break;
        }
        if (s.kind == State::Kind::fork) {
          stack_.push_back(s.other);
          stack_.push_back(s.next);
          continue;
        }
        const bool holds = class_sets == nullptr ? s.at_end : (*class_sets)[s.set];
        if (!holds) continue;
        if (s.kind == State::Kind::look) {
          stack_.push_back(s.next);
        } else if (queued_[s.next] != round_) {
          queued_[s.next] = round_;
          next.push_back(s.next);
        }
      }
    }
    return {number(std::move(next)), matches};
  }

  [[noreturn]] void too_large() const { fail("{}: needs too large tables", quoted(expression_)); }

  static constexpr size_t kMaxStates = 8192;
  static constexpr uint64_t kMaxWork = 200'000'000;

  std::string_view expression_;
  const Automaton& nfa_;
  const Partition& classes_;
  std::map<List, uint16_t> numbers_;
  std::vector<const List*> lists_;
  std::vector<uint64_t> seen_, queued_;  // the round in which a state was reached
  uint64_t round_ = 0, work_ = 0;
  std::vector<uint32_t> stack_;
};

// The two-stage table of the classes.
void set_classes(const Partition& classes, RegexTables& out) {
  constexpr uint32_t kBlock = 1u << format::kCharBlockBits;
  std::map<std::vector<uint8_t>, uint16_t> blocks;
  std::vector<uint8_t> block(kBlock);
  size_t interval = 0;
  for (uint32_t cp = 0; cp <= kLastCodePoint; ++cp) {
    while (interval + 1 < classes.starts.size() && classes.starts[interval + 1].first <= cp) ++interval;
    block[cp % kBlock] = classes.starts[interval].second;
    if ((cp + 1) % kBlock != 0) continue;
    const auto [it, is_new] = blocks.emplace(block, static_cast<uint16_t>(blocks.size()));
    if (is_new) out.char_classes.insert(out.char_classes.end(), block.begin(), block.end());
    out.char_blocks.push_back(it->second);
  }
}

}  // namespace

RegexTables compile_regexes(std::span<const std::string> expressions) {
  RegexTables out;
  SetTable sets;
  std::vector<Automaton> automata;
  for (const std::string& expression : expressions) {
    const Node node = Parser(expression).parse();
    automata.push_back(Builder(expression, sets).build(node));
  }
  const Partition classes = partition(sets.sets());
  out.n_classes = static_cast<uint32_t>(classes.members.size()) + 1;
  for (size_t i = 0; i < automata.size(); ++i) {
    const auto first = static_cast<uint32_t>(out.transitions.size());
    const uint32_t n_states = Determinizer(expressions[i], automata[i], classes).append_to(out.transitions);
    out.regexes.push_back({first, n_states});
  }
  set_classes(classes, out);
  return out;
}

std::string escape_regex(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (std::string_view("\\^$.|?*+()[]{}&-").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

}  // namespace forge
