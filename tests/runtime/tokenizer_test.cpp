#include "runtime/core/tokenizer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>

#include "core/error.h"
#include "formats/checkpoint.h"
#include "formats/tokenizer_pipeline.h"
#include "formats/tokenizer_regex.h"
#include "formats/tokenizer_tables.h"
#include "runtime/core/tokenizer_split.h"
#include "runtime/core/unicode.h"

namespace forge::rt {
namespace {

using Ids = std::vector<int32_t>;
using Strings = std::vector<std::string>;

constexpr int64_t kNormal = 1, kUnknown = 2, kControlType = 3, kUserDefined = 4, kUnused = 5, kByte = 6;

// GPT-2's character for a byte, by the rule of its paper's code: printable Latin-1 as it is, others from
// U+0100.
std::string byte_character(int byte) {
  static const std::vector<uint32_t> alphabet = [] {
    std::vector<uint32_t> a(256);
    uint32_t n = 0;
    for (uint32_t b = 0; b < 256; ++b) {
      const bool keeps = (b >= '!' && b <= '~') || (b >= 0xa1 && b <= 0xac) || (b >= 0xae && b <= 0xff);
      a[b] = keeps ? b : 256 + n++;
    }
    return a;
  }();
  std::string s;
  append_utf8(s, alphabet[static_cast<size_t>(byte)]);
  return s;
}

std::string byte_level(std::string_view bytes) {
  std::string s;
  for (const char c : bytes) s += byte_character(static_cast<uint8_t>(c));
  return s;
}

struct Vocab {
  std::string model = "gpt2", pre = "gpt-2";
  Strings tokens, merges;
  std::vector<double> scores;
  std::vector<int64_t> types;
  std::map<std::string, int64_t> numbers;
  std::map<std::string, bool> flags;
  std::string name;

  int32_t add(std::string token, int64_t type = kNormal, double score = 0) {
    tokens.push_back(std::move(token));
    types.push_back(type);
    scores.push_back(score);
    return static_cast<int32_t>(tokens.size()) - 1;
  }
  // A merge of two byte strings, with its result as a token.
  int32_t merge(std::string_view left, std::string_view right) {
    merges.push_back(byte_level(left) + " " + byte_level(right));
    return add(byte_level(std::string(left) + std::string(right)));
  }
  Metadata meta() const {
    Metadata m;
    const auto text = [](std::string s) { return MetaValue{MetaType::string, MetaType::u32, std::move(s)}; };
    m.set("tokenizer.ggml.model", text(model));
    if (!pre.empty()) m.set("tokenizer.ggml.pre", text(pre));
    if (!name.empty()) m.set("general.name", text(name));
    m.set("tokenizer.ggml.tokens", {MetaType::array, MetaType::string, tokens});
    if (!scores.empty()) m.set("tokenizer.ggml.scores", {MetaType::array, MetaType::f32, scores});
    if (!types.empty()) m.set("tokenizer.ggml.token_type", {MetaType::array, MetaType::i32, types});
    if (model == "gpt2") m.set("tokenizer.ggml.merges", {MetaType::array, MetaType::string, merges});
    for (const auto& [key, value] : numbers)
      m.set("tokenizer.ggml." + key, {MetaType::u32, MetaType::u32, value});
    for (const auto& [key, value] : flags) {
      m.set("tokenizer.ggml." + key, {MetaType::boolean, MetaType::u32, int64_t{value}});
    }
    return m;
  }
};

// All 256 bytes, ids 0 to 255.
Vocab byte_vocab() {
  Vocab v;
  for (int b = 0; b < 256; ++b) v.add(byte_character(b));
  return v;
}

// <unk>, <s>, </s>, the 256 byte tokens, then single characters.
Vocab spm_vocab(std::string_view characters = "") {
  Vocab v;
  v.model = "llama";
  v.pre = "";
  v.add("<unk>", kUnknown);
  v.add("<s>", kControlType);
  v.add("</s>", kControlType);
  for (int b = 0; b < 256; ++b) v.add(fmt::format("<0x{:02X}>", b), kByte);
  for (const char c : characters) v.add(c == ' ' ? "▁" : std::string(1, c), kNormal, -1000);
  return v;
}
constexpr int32_t kSpmByte0 = 3;

// A tokenizer with the tables that it looks at.
struct Opened {
  std::vector<uint8_t> tables;
  Tokenizer tokenizer;
  const Tokenizer* operator->() const { return &tokenizer; }
};

Opened open(const Metadata& meta) {
  std::vector<uint8_t> tables = build_tokenizer_tables(meta);
  Result<Tokenizer> t = Tokenizer::open(tables);
  if (!t) throw forge::Error(t.error().message);
  return {std::move(tables), *t};
}
Opened open(const Vocab& v) { return open(v.meta()); }

std::string refusal(const Vocab& v) {
  try {
    build_tokenizer_tables(v.meta());
  } catch (const forge::Error& e) {
    return e.what();
  }
  return "(accepted)";
}

// The pre-tokenizers that differ from each other, by tokenizer.ggml.pre.
constexpr const char* kPreTokenizers[] = {
    "default",      "gpt-2",          "llama-bpe",   "dbrx",       "jais-2", "qwen2",
    "qwen35",       "laguna",         "seed-coder",  "bailingmoe", "falcon", "exaone-moe",
    "minicpm5",     "starcoder",      "deepseek-v3", "youtu",      "tekken", "gpt-4o",
    "deepseek-llm", "deepseek-coder", "bloom",       "viking"};

Strings words(std::string_view pre, std::string_view text) {
  const Pipeline pipeline = pipeline_of_name(pre);
  std::vector<std::string> regexes;
  std::vector<tokenizer_format::Split> splits;
  for (const SplitStep& step : pipeline.splits) {
    regexes.push_back(step.regex);
    splits.push_back({step.behavior, step.inverted, step.bytes});
  }
  const RegexTables t = compile_regexes(regexes);
  const RegexView view{t.n_classes, t.char_blocks, t.char_classes, t.regexes, t.transitions};
  EXPECT_TRUE(view.is_sound());
  Strings out;
  split_words(
      view, splits, text,
      {[](void* list, std::string_view word) { static_cast<Strings*>(list)->emplace_back(word); }, &out});
  return out;
}

std::string random_bytes(std::mt19937& random, size_t n) {
  std::string s;
  while (s.size() < n) s += static_cast<char>(random());
  return s;
}

// ---- words ----

TEST(TokenizerSplit, Gpt2) {
  EXPECT_EQ(words("gpt-2", "I'll say: it's 42  times!!\n\n x"),
            (Strings{"I", "'ll", " say", ":", " it", "'s", " 42", " ", " times", "!!", "\n\n", " x"}));
  EXPECT_EQ(words("gpt-2", "don'T 'tis a''s"), (Strings{"don", "'", "T", " '", "tis", " a", "''", "s"}));
  EXPECT_EQ(words("gpt-2", "a \t\n"), (Strings{"a", " \t\n"}));
  EXPECT_EQ(words("gpt-2", "  "), (Strings{"  "}));
  EXPECT_EQ(words("gpt-2", "Ünï中文😀 😀٣½x\u3000y"),
            (Strings{"Ünï中文", "😀", " 😀", "٣½", "x", "\u3000", "y"}));
  EXPECT_EQ(words("gpt-2", ""), Strings{});
}

TEST(TokenizerSplit, LlamaBpe) {
  EXPECT_EQ(words("llama-bpe", "I'LL take 12345 (maybe).\r\n\n  x  "),
            (Strings{"I", "'LL", " take", " ", "123", "45", " (", "maybe", ").\r\n\n", " ", " x", "  "}));
  EXPECT_EQ(words("llama-bpe", "\tfoo.bar $x \n \n y"),
            (Strings{"\tfoo", ".bar", " $", "x", " \n \n", " y"}));
  EXPECT_EQ(words("llama-bpe", " "), (Strings{" "}));
}

TEST(TokenizerSplit, Qwen2TakesOneDigit) {
  EXPECT_EQ(words("qwen2", "We'Ve 123 l\n"), (Strings{"We", "'Ve", " ", "1", "2", "3", " l", "\n"}));
}

TEST(TokenizerSplit, StarcoderAndSmollmIsolateDigitsFirst) {
  for (const std::string_view name : {"starcoder", "smollm"}) {
    // The space before a digit is the end of its piece, so both spaces stay together.
    EXPECT_EQ(words(name, "it's  12 x"), (Strings{"it", "'s", "  ", "1", "2", " x"})) << name;
  }
}

TEST(TokenizerSplit, DefaultIsolatesPunctuationAndGroupsDigits) {
  EXPECT_EQ(words("default", "a 1234567, b~x'll`q`"),
            (Strings{"a", " ", "123", "456", "7", ",", " b", "~", "x", "'", "ll", "`", "q", "`"}));
}

TEST(TokenizerSplit, WordsAreTheWholeText) {
  std::mt19937 random(1);
  const std::string alphabet = " \n\r\t'slL1a.中\xc3\xff";
  for (const char* pre : kPreTokenizers) {
    for (int round = 0; round < 10; ++round) {
      std::string text;
      for (size_t i = random() % 400; i > 0; --i) text += alphabet[random() % alphabet.size()];
      std::string joined;
      for (const std::string& word : words(pre, text)) {
        ASSERT_FALSE(word.empty());
        joined += word;
      }
      ASSERT_EQ(joined, text) << pre;
    }
  }
}

// ---- byte-level BPE ----

TEST(TokenizerBpe, MergesByRankAndThenFromTheLeft) {
  Vocab v = byte_vocab();
  const int32_t bc = v.merge("b", "c"), ab = v.merge("a", "b"), aa = v.merge("a", "a");
  const auto t = open(v);
  EXPECT_EQ(t->encode("abc"), (Ids{'a', bc}));
  EXPECT_EQ(t->encode("abd"), (Ids{ab, 'd'}));
  EXPECT_EQ(t->encode("aaaaa"), (Ids{aa, aa, 'a'}));
  EXPECT_EQ(t->encode(""), Ids{});
}

// The definition: again and again the neighbours with the lowest rank, of equal ones the leftmost.
Ids merge_naively(const std::string& word,
                  const std::map<std::pair<int32_t, int32_t>, std::pair<size_t, int32_t>>& merges) {
  Ids ids;
  for (const char c : word) ids.push_back(static_cast<uint8_t>(c));
  for (;;) {
    size_t best = SIZE_MAX, at = 0;
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      const auto it = merges.find({ids[i], ids[i + 1]});
      if (it != merges.end() && it->second.first < best) {
        best = it->second.first;
        at = i;
      }
    }
    if (best == SIZE_MAX) return ids;
    ids[at] = merges.at({ids[at], ids[at + 1]}).second;
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(at) + 1);
  }
}

TEST(TokenizerBpe, AgreesWithTheDefinitionOnRandomVocabularies) {
  std::mt19937 random(2);
  for (int round = 0; round < 30; ++round) {
    Vocab v = byte_vocab();
    Strings pieces = {"a", "b", "c"};
    std::map<std::string, int32_t> ids = {{"a", 'a'}, {"b", 'b'}, {"c", 'c'}};
    std::map<std::pair<int32_t, int32_t>, std::pair<size_t, int32_t>> merges;
    for (int i = 0; i < 40; ++i) {
      const std::string left = pieces[random() % pieces.size()], right = pieces[random() % pieces.size()];
      const std::pair key(ids[left], ids[right]);
      if (left.size() + right.size() > 6 || merges.contains(key)) continue;
      if (!ids.contains(left + right)) {
        ids[left + right] = v.add(left + right);
        pieces.push_back(left + right);
      }
      v.merges.push_back(fmt::format("{} {}", left, right));
      merges[key] = {v.merges.size() - 1, ids[left + right]};
    }
    const auto t = open(v);
    for (int i = 0; i < 100; ++i) {
      std::string word;
      for (size_t n = 1 + random() % 30; n > 0; --n) word += "abc"[random() % 3];
      ASSERT_EQ(t->encode(word), merge_naively(word, merges)) << word;
    }
  }
}

TEST(TokenizerBpe, AnyBytesComeBack) {
  Vocab v = byte_vocab();
  v.merge("\xe4", "\xb8");
  v.merge(" ", "t");
  v.merge("\xff", "\xff");
  std::mt19937 random(3);
  for (const char* pre : kPreTokenizers) {
    v.pre = pre;
    v.flags["add_bos_token"] = false;
    const auto t = open(v);
    for (size_t n = 0; n < 400; ++n) {
      const std::string bytes = random_bytes(random, n);
      ASSERT_EQ(t->decode(t->encode(bytes)), bytes) << pre;
    }
    std::string all;
    for (uint32_t cp = 0; cp < 0x110000; cp += 7) append_utf8(all, cp);
    ASSERT_EQ(t->decode(t->encode(all)), all) << pre;
  }
}

TEST(TokenizerBpe, LlamaBpeTakesWholeWordsWithoutMerges) {
  Vocab v = byte_vocab();
  const int32_t hello = v.add(byte_level(" hello"));  // no merges lead to it
  const int32_t he = v.merge("h", "e");
  const auto gpt2 = open(v);
  EXPECT_EQ(gpt2->encode(" hello"), (Ids{' ', he, 'l', 'l', 'o'}));
  v.pre = "llama-bpe";
  const auto llama = open(v);
  EXPECT_EQ(llama->encode(" hello"), Ids{hello});
  EXPECT_EQ(llama->encode(" hellos"), (Ids{' ', he, 'l', 'l', 'o', 's'}));
}

TEST(TokenizerBpe, RepeatedWordsAreTheSameWords) {
  Vocab v = byte_vocab();
  const int32_t ab = v.merge("a", "b");
  const auto t = open(v);
  std::string text;
  Ids expected;
  for (int i = 0; i < 3000; ++i) {
    const auto digit = static_cast<char>('0' + i % 10);
    text += "ab";
    text += digit;
    expected.insert(expected.end(), {ab, digit});
  }
  EXPECT_EQ(t->encode(text), expected);
}

TEST(TokenizerBpe, BrokenMergesAreIgnored) {
  Vocab v = byte_vocab();
  v.merges = {"a zz", "a",  "",
              "b c",  " d", "x  y"};  // of these pieces "zz", "bc", "xy" are not in the vocabulary
  const int32_t ab = v.merge("a", "b");
  v.merges.push_back("a b");
  const auto t = open(v);
  EXPECT_EQ(t->encode("abc"), (Ids{ab, 'c'}));
  EXPECT_EQ(t->encode("bcxy"), (Ids{'b', 'c', 'x', 'y'}));
}

TEST(TokenizerBpe, BytesOutsideOfTheVocabulary) {
  Vocab v;
  v.add("a");
  const auto without = open(v);
  EXPECT_EQ(without->encode("aba"), (Ids{0, 0}));
  v.numbers["unknown_token_id"] = v.add("<unk>", kUnknown);
  const auto with = open(v);
  EXPECT_EQ(with->encode("aba"), (Ids{0, 1, 0}));
  EXPECT_EQ(with->decode(Ids{0, 1, 0}), "aa");
  v.numbers["eos_token_id"] = 1;  // then text must not give it
  EXPECT_EQ(open(v)->encode("aba"), (Ids{0, 0}));
}

// ---- SentencePiece ----

TEST(TokenizerSpm, MergesTheBestScoreFirst) {
  Vocab v = spm_vocab("abc ");
  const int32_t ab = v.add("ab", kNormal, -2), bc = v.add("bc", kNormal, -1),
                space_a = v.add("▁a", kNormal, -5);
  const int32_t a = 259, b = 260, c = 261, space = 262;
  v.flags["add_bos_token"] = false;
  const auto t = open(v);
  EXPECT_EQ(t->encode("abc"), (Ids{space_a, bc}));
  EXPECT_EQ(t->encode("ab"), (Ids{space, ab}));
  EXPECT_EQ(t->encode("a a"), (Ids{space_a, space_a}));
  EXPECT_EQ(t->encode("cb "), (Ids{space, c, b, space}));
  EXPECT_EQ(t->encode("▁a"), (Ids{space, space_a}));  // a literal "▁" is a space
  v.flags["add_space_prefix"] = false;
  EXPECT_EQ(open(v)->encode("ca"), (Ids{c, a}));
}

TEST(TokenizerSpm, AgreesWithTheDefinitionWhateverSpansSpaces) {
  std::mt19937 random(4);
  for (int round = 0; round < 40; ++round) {
    Vocab v = spm_vocab("ab ");
    v.flags["add_bos_token"] = v.flags["add_space_prefix"] = false;
    std::map<std::string, int32_t> ids = {{"a", 259}, {"b", 260}, {" ", 261}};
    for (int i = 0; i < 12; ++i) {
      std::string piece;
      for (size_t n = 2 + random() % 3; n > 0; --n) piece += "ab "[random() % 3];
      if (ids.contains(piece)) continue;
      std::string escaped;
      for (const char c : piece) escaped += c == ' ' ? "▁" : std::string(1, c);
      ids[piece] = v.add(escaped, kNormal, -static_cast<double>(random() % 5));
    }
    const auto t = open(v);
    for (int i = 0; i < 100; ++i) {
      std::string text;
      for (size_t n = 1 + random() % 25; n > 0; --n) text += "ab "[random() % 3];
      Strings parts;
      for (const char c : text) parts.emplace_back(1, c);
      for (;;) {
        double best = -INFINITY;
        size_t at = 0;
        for (size_t k = 0; k + 1 < parts.size(); ++k) {
          const auto it = ids.find(parts[k] + parts[k + 1]);
          if (it != ids.end() && v.scores[static_cast<size_t>(it->second)] > best) {
            best = v.scores[static_cast<size_t>(it->second)];
            at = k;
          }
        }
        if (best == -INFINITY) break;
        parts[at] += parts[at + 1];
        parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(at) + 1);
      }
      Ids expected;
      for (const std::string& part : parts) expected.push_back(ids.at(part));
      ASSERT_EQ(t->encode(text), expected) << '"' << text << '"';
    }
  }
}

TEST(TokenizerSpm, BytesOfCharactersOutsideOfTheVocabulary) {
  const Vocab v = spm_vocab("a ");
  const auto t = open(v);
  EXPECT_EQ(t->encode("é"), (Ids{1, 260, kSpmByte0 + 0xc3, kSpmByte0 + 0xa9}));
  EXPECT_EQ(t->encode("\xff"
                      "a"),
            (Ids{1, 260, kSpmByte0 + 0xff, 259}));
  EXPECT_EQ(t->decode(t->encode("é")), "é");
  std::string piece;
  t->append_piece(kSpmByte0 + 0xc3, piece);
  EXPECT_EQ(piece, "\xc3");
  std::mt19937 random(5);
  for (size_t n = 0; n < 300; ++n) {
    const std::string bytes = random_bytes(random, n);
    ASSERT_EQ(t->decode(t->encode(bytes)), bytes);
  }
}

TEST(TokenizerSpm, UnknownWhereThereAreNoByteTokens) {
  Vocab v;
  v.model = "llama";
  v.add("<unk>", kUnknown);
  v.add("▁");
  v.add("a");
  v.flags["add_bos_token"] = false;
  EXPECT_EQ(open(v)->encode("ab"), (Ids{1, 2, 0}));
}

TEST(TokenizerSpm, DecodeDropsTheAddedSpaceOnly) {
  Vocab v = spm_vocab("a ");
  const auto t = open(v);
  EXPECT_EQ(t->decode(t->encode("a a")), "a a");
  EXPECT_EQ(t->decode(t->encode(" a")), " a");
  EXPECT_EQ(t->decode(Ids{1, 1, 260, 259}), "a");
  EXPECT_EQ(t->decode(Ids{259, 260, 259}), "a a");
  EXPECT_EQ(t->decode(Ids{1, 260, 259}, true), "<s>a");
  v.flags["add_space_prefix"] = false;
  EXPECT_EQ(open(v)->decode(Ids{1, 260, 259}), " a");
}

TEST(Tokenizer, BosAndEosAsTheFileSaysOrAsAsked) {
  Vocab v = spm_vocab("a ");
  EXPECT_EQ(open(v)->encode("", {}), Ids{1});
  v.flags["add_eos_token"] = true;
  const auto t = open(v);
  EXPECT_TRUE(t->adds_bos());
  EXPECT_EQ(t->encode("a"), (Ids{1, 260, 259, 2}));
  EXPECT_EQ(t->encode("a", {.add_bos = false, .add_eos = false}), (Ids{260, 259}));

  Vocab b = byte_vocab();
  const auto none = open(b);
  EXPECT_FALSE(none->adds_bos());
  EXPECT_EQ(none->bos(), -1);
  EXPECT_EQ(none->encode("x", {.add_bos = true}), Ids{'x'});  // there is none to add
  b.numbers["bos_token_id"] = b.add("<|begin|>", kControlType);
  EXPECT_EQ(open(b)->encode("x"), Ids{'x'});
  EXPECT_EQ(open(b)->encode("x", {.add_bos = true}), (Ids{256, 'x'}));
  b.pre = "llama-bpe";
  EXPECT_EQ(open(b)->encode("x"), (Ids{256, 'x'}));
}

// ---- special tokens ----

TEST(TokenizerSpecial, ControlTokensOnlyWhenAskedFor) {
  Vocab v = byte_vocab();
  const int32_t start = v.add("<|im_start|>", kControlType);
  v.add("a", kNormal);
  v.tokens.back() = "<user>";
  v.types.back() = kUserDefined;
  const int32_t user = start + 1;
  const auto t = open(v);
  const Ids plain = t->encode("<|im_start|>");
  EXPECT_EQ(plain.size(), 12u);
  EXPECT_EQ(t->encode("x<|im_start|>y", {.parse_special = true}), (Ids{'x', start, 'y'}));
  EXPECT_EQ(t->encode("<user>y<user>"), (Ids{user, 'y', user}));
  EXPECT_EQ(t->decode(Ids{'x', start, user}), "x<user>");
  EXPECT_EQ(t->decode(Ids{'x', start, user}, true), "x<|im_start|><user>");
  EXPECT_TRUE(t->is_control(start));
  EXPECT_FALSE(t->is_control(user));
  EXPECT_FALSE(t->is_control('x'));
}

TEST(TokenizerSpecial, TheFirstAndThereTheLongest) {
  Vocab v = byte_vocab();
  const int32_t ab = v.add("<ab", kUserDefined), abc = v.add("<abc>", kUserDefined),
                c = v.add("c>x>>", kUserDefined), dots = v.add("...", kUserDefined);
  const auto t = open(v);
  EXPECT_EQ(t->encode("<ab<abc>"), (Ids{ab, abc}));
  EXPECT_EQ(t->encode("<abc>x>>"), (Ids{abc, 'x', '>', '>'}));
  EXPECT_EQ(t->encode("<abc<c>x>>"), (Ids{ab, 'c', '<', c}));
  EXPECT_EQ(t->encode("<abc>x>>"), (Ids{abc, 'x', '>', '>'}));
  EXPECT_EQ(t->encode("......."), (Ids{dots, dots, '.'}));
}

TEST(TokenizerSpecial, TextNeverGivesAControlToken) {
  Vocab v = byte_vocab();
  v.pre = "llama-bpe";
  v.add("STOP", kControlType);  // a whole word
  v.merges.push_back("O K");
  v.add("OK", kControlType);  // the result of a merge
  const auto bpe = open(v);
  EXPECT_EQ(bpe->encode("STOP OK"), (Ids{'S', 'T', 'O', 'P', ' ', 'O', 'K'}));

  Vocab s = spm_vocab("<s> ");
  s.add("<s", kNormal, -1);  // on the way to "<s>"
  const auto spm = open(s);
  for (const std::string_view text : {"<s>", "</s>", "<unk>", "<0x41>"}) {
    const Ids ids = spm->encode(text, {.add_bos = false});
    EXPECT_GT(ids.size(), 2u) << text;
    for (const int32_t id : ids) EXPECT_FALSE(spm->is_control(id)) << text;
    EXPECT_EQ(spm->decode(ids), text);
  }
}

TEST(TokenizerSpecial, SpaceBehindASpecialTokenInSpm) {
  Vocab v = spm_vocab("a ");
  const auto t = open(v);
  EXPECT_EQ(t->encode("a</s>a", {.parse_special = true}), (Ids{1, 260, 259, 2, 260, 259}));
  v.add("<|end|>", kControlType);
  v.name = "Phi-3 mini";  // there, special tokens take the white space behind them
  EXPECT_EQ(open(v)->encode("a<|end|> \n a<s> a", {.parse_special = true}),
            (Ids{1, 260, 259, 261, 260, 259, 1, 260, 260, 259}));
}

TEST(TokenizerSpecial, EndOfGeneration) {
  Vocab v = byte_vocab();
  const int32_t text_end = v.add("<|endoftext|>"), im_end = v.add("<|im_end|>", kControlType),
                stop = v.add("<stop>", kControlType), start = v.add("<|im_start|>", kControlType),
                repo = v.add("<|repo_name|>", kControlType);
  v.numbers = {{"eos_token_id", stop}, {"bos_token_id", start}};
  const auto t = open(v);
  for (const int32_t id : {text_end, im_end, stop, repo}) EXPECT_TRUE(t->is_end_of_generation(id)) << id;
  for (const int32_t id : {start, int32_t{'a'}, -1, t->n_vocab()})
    EXPECT_FALSE(t->is_end_of_generation(id)) << id;
  EXPECT_TRUE(t->is_control(text_end));  // by its name, whatever the file says
  EXPECT_EQ(t->eot(), im_end);
  EXPECT_EQ(t->eos(), stop);
  v.numbers["eot_token_id"] = 'z';
  EXPECT_EQ(open(v)->eot(), 'z');
  EXPECT_TRUE(open(v)->is_end_of_generation('z'));

  Vocab harmony = byte_vocab();
  const int32_t end = harmony.add("<|end|>", kControlType), call = harmony.add("<|call|>", kControlType);
  harmony.add("<|return|>", kControlType);
  EXPECT_FALSE(open(harmony)->is_end_of_generation(end));
  EXPECT_TRUE(open(harmony)->is_end_of_generation(call));
}

TEST(Tokenizer, TokensThatPrintNothing) {
  Vocab v = byte_vocab();
  const int32_t unused = v.add("<unused0>", kUnused), empty = v.add("");
  const auto t = open(v);
  EXPECT_EQ(t->decode(Ids{'a', unused, empty, -5, 100000, 'b'}), "ab");
  EXPECT_EQ(t->n_vocab(), 258);
}

// ---- long texts: anything quadratic would run into the test's time limit ----

TEST(Tokenizer, LongTextsOfOneKind) {
  constexpr size_t n = 200'000;
  Vocab v = byte_vocab();
  std::string run = "a";
  int32_t longest = 'a';
  for (; run.size() < 16; run += run) longest = v.merge(run, run);
  v.add("<|end|>", kControlType);
  v.add("<<<", kUserDefined);
  for (const char* pre : kPreTokenizers) {
    v.pre = pre;
    const auto t = open(v);
    EXPECT_EQ(t->encode(std::string(n, 'a')), Ids(n / 16, longest)) << pre;
    EXPECT_EQ(t->encode(std::string(n, ' ')).size(), n) << pre;
    // \s+$ and the like look to the run's end from each of its places.
    EXPECT_EQ(t->encode(std::string(n, ' ') + "x").size(), n + 1) << pre;
    EXPECT_EQ(t->encode(std::string(n, '\n') + "x").size(), n + 1) << pre;
    EXPECT_EQ(t->encode(std::string(n, '7')).size(), n) << pre;
    EXPECT_EQ(t->encode(std::string(n, '<')).size(), n / 3 + n % 3) << pre;
  }
  Vocab u = spm_vocab("a ");
  for (run = "a"; run.size() < 16; run += run)
    longest = u.add(run + run, kNormal, -static_cast<double>(run.size()));
  u.flags["add_space_prefix"] = u.flags["add_bos_token"] = false;
  const auto spm = open(u);
  EXPECT_EQ(spm->encode(std::string(n, 'a')), Ids(n / 16, longest));
  EXPECT_EQ(spm->encode(std::string(n, ' ')).size(), n);
  EXPECT_EQ(spm->encode(std::string(n, '\xff')).size(), n);
}

// ---- hostile files and tables ----

TEST(TokenizerTables, RefuseWithTheReason) {
  Vocab v = byte_vocab();
  const auto with = [&](auto change) {
    Vocab changed = v;
    change(changed);
    return refusal(changed);
  };
  EXPECT_EQ(with([](Vocab&) {}), "(accepted)");
  const std::string model = with([](Vocab& x) { x.model = "bert"; });
  EXPECT_NE(model.find("bert"), std::string::npos) << model;
  EXPECT_NE(model.find("llama"), std::string::npos) << model;
  const std::string pre = with([](Vocab& x) { x.pre = "klingon"; });
  EXPECT_NE(pre.find("klingon"), std::string::npos) << pre;
  for (const char* known : {"default", "gpt-2", "llama-bpe", "qwen2", "smollm", "starcoder"}) {
    EXPECT_NE(pre.find(known), std::string::npos) << pre;
  }
  const auto names = [](const std::string& message, std::string_view key) {
    EXPECT_NE(message.find(key), std::string::npos) << message;
  };
  names(with([](Vocab& x) { x.tokens.clear(); }), "tokenizer.ggml.tokens");
  names(with([](Vocab& x) { x.tokens[5] = x.tokens[7]; }), "5 and 7");
  names(with([](Vocab& x) { x.scores.resize(7); }), "tokenizer.ggml.scores: 7");
  names(with([](Vocab& x) { x.scores[3] = NAN; }), "tokenizer.ggml.scores");
  names(with([](Vocab& x) { x.types.resize(300); }), "tokenizer.ggml.token_type: 300");
  names(with([](Vocab& x) { x.numbers["bos_token_id"] = 256; }), "tokenizer.ggml.bos_token_id");
  names(with([](Vocab& x) { x.numbers["eos_token_id"] = -1; }), "tokenizer.ggml.eos_token_id");
  names(with([](Vocab& x) { x.numbers["eot_token_id"] = INT64_MAX; }), "tokenizer.ggml.eot_token_id");
  names(with([](Vocab& x) { x.model = "gpt2\n"; }), "tokenizer.ggml.model");
  EXPECT_EQ(with([](Vocab& x) { x.numbers["padding_token_id"] = 256; }), "(accepted)");
  EXPECT_EQ(with([](Vocab& x) { x.types.assign(256, -77); }), "(accepted)");

  Metadata no_merges;
  const Metadata all = v.meta();
  for (const auto& [key, value] : all.entries()) {
    if (key != "tokenizer.ggml.merges") no_merges.set(key, value);
  }
  EXPECT_THROW(build_tokenizer_tables(no_merges), forge::Error);
  EXPECT_THROW(build_tokenizer_tables(Metadata()), forge::Error);
}

TEST(TokenizerTables, MissingPreTokenizerIsTheDefaultOne) {
  Vocab v = byte_vocab();
  const int32_t comma_a = v.merge(",", "a");
  v.pre = "";
  EXPECT_EQ(open(v)->encode(",a"), (Ids{',', 'a'}));
  v.pre = "llama-bpe";
  EXPECT_EQ(open(v)->encode(",a"), Ids{comma_a});
}

TEST(TokenizerTables, SameInputSameBytes) {
  const Vocab v = spm_vocab("abc ");
  EXPECT_EQ(build_tokenizer_tables(v.meta()), build_tokenizer_tables(v.meta()));
}

// Uses everything of a tokenizer; ids must stay inside of the vocabulary.
void exercise(const Tokenizer& t) {
  const std::string text = "<s>aab  ab<|end|>\n abcc é\xff ▁a <0x41>";
  for (const bool special : {false, true}) {
    const Ids ids = t.encode(text, {.add_bos = true, .add_eos = true, .parse_special = special});
    for (const int32_t id : ids) {
      ASSERT_GE(id, 0);
      ASSERT_LT(id, t.n_vocab());
    }
    t.decode(ids, special);
  }
  for (int32_t id = -1; id <= 300; ++id) t.is_end_of_generation(id);
}

std::vector<std::vector<uint8_t>> small_tables() {
  Vocab spm = spm_vocab("abc ");
  spm.add("ab", kNormal, -1);
  spm.add("<|end|>", kControlType);
  Vocab bpe = byte_vocab();
  bpe.pre = "llama-bpe";
  bpe.merge("a", "b");
  bpe.merge("ab", "c");
  bpe.numbers["bos_token_id"] = bpe.add("<s>", kControlType);
  bpe.add("  ", kUserDefined);
  return {build_tokenizer_tables(spm.meta()), build_tokenizer_tables(bpe.meta())};
}

TEST(TokenizerTables, TruncatedAnywhereIsRefused) {
  for (const std::vector<uint8_t>& tables : small_tables()) {
    for (size_t n = 0; n < tables.size(); ++n) {
      const std::vector<uint8_t> cut(tables.begin(), tables.begin() + static_cast<std::ptrdiff_t>(n));
      ASSERT_FALSE(Tokenizer::open(cut)) << n << " of " << tables.size();
    }
    EXPECT_TRUE(Tokenizer::open(tables));
  }
}

TEST(TokenizerTables, AlteredBytesAreRefusedOrHarmless) {
  std::mt19937 random(6);
  for (std::vector<uint8_t> tables : small_tables()) {
    size_t refused = 0;
    const auto try_open = [&](const std::vector<uint8_t>& altered) {
      const Result<Tokenizer> t = Tokenizer::open(altered);
      if (t) {
        exercise(*t);
      } else {
        ++refused;
      }
    };
    for (size_t i = 0; i < tables.size(); ++i) {
      for (const int value : {0x00, 0xff, 0x80, 0x01}) {
        const uint8_t before = tables[i];
        tables[i] = static_cast<uint8_t>(before ^ (value == 0 ? before : value));
        if (tables[i] != before) try_open(tables);
        tables[i] = before;
      }
    }
    for (int round = 0; round < 2000; ++round) {
      std::vector<uint8_t> altered = tables;
      for (int k = 0; k < 8; ++k) altered[random() % altered.size()] = static_cast<uint8_t>(random());
      try_open(altered);
    }
    EXPECT_GT(refused, 1000u);
  }
}

TEST(TokenizerTables, MisalignedIsRefused) {
  std::vector<uint8_t> tables = small_tables()[0];
  tables.insert(tables.begin(), 0);
  EXPECT_FALSE(Tokenizer::open(std::span(tables).subspan(1)));
}

// ---- llama.cpp's test vectors ----

std::string read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

class TokenizerVectors : public testing::TestWithParam<const char*> {};

TEST_P(TokenizerVectors, Match) {
  const std::filesystem::path base = std::filesystem::path(FORGE_SOURCE_DIR) / "../shared/data/tokenizers" /
                                     (std::string("ggml-vocab-") + GetParam() + ".gguf");
  if (!std::filesystem::exists(base)) {
    GTEST_SKIP() << "SKIPPED: ../shared/data/tokenizers/" << base.filename().string() << " is missing";
  }
  const auto t = open(read_gguf(base.string()).meta);
  const std::string inputs = read_file(base.string() + ".inp");
  std::istringstream outputs(read_file(base.string() + ".out"));
  constexpr std::string_view kSeparator = "\n__ggml_vocab_test__\n";
  size_t n = 0;
  std::string line;
  for (size_t at = 0; at < inputs.size() && std::getline(outputs, line); ++n) {
    const size_t end = std::min(inputs.find(kSeparator, at), inputs.size());
    const std::string text = inputs.substr(at, end - at);
    std::istringstream numbers(line);
    const Ids expected{std::istream_iterator<int32_t>(numbers), {}};
    const Ids ids = t->encode(text, {.add_bos = false});
    EXPECT_EQ(ids, expected) << '"' << text << '"';
    EXPECT_EQ(t->decode(ids), text);
    at = end + kSeparator.size();
  }
  EXPECT_EQ(n, 46u);
}

INSTANTIATE_TEST_SUITE_P(Vocabularies, TokenizerVectors,
                         testing::Values("gpt-2", "llama-spm", "phi-3", "starcoder"), [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

// The bundled model's vocabulary against the tokenizers library (tests/goldens/make_goldens.py).
TEST(TokenizerGoldens, BundledModel) {
  const std::filesystem::path root = FORGE_SOURCE_DIR;
  const auto t = open(read_gguf((root / "models/storyteller-f16.gguf").string()).meta);
  std::istringstream lines(read_file(root / "tests/goldens/storyteller.tok.jsonl"));
  size_t n = 0;
  for (std::string line; std::getline(lines, line); ++n) {
    const auto golden = nlohmann::json::parse(line);
    const auto text = golden.at("text").get<std::string>();
    const Ids ids = t->encode(text, {.add_bos = false});
    EXPECT_EQ(ids, golden.at("ids").get<Ids>()) << text;
    EXPECT_EQ(t->decode(ids), text);
  }
  EXPECT_GE(n, 200u);
}

}  // namespace
}  // namespace forge::rt
