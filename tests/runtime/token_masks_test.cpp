// Which tokens a grammar allows, found as they are needed and carried by a program.
#include "runtime/core/token_masks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "runtime/core/mask_image.h"
#include "tests/runtime/grammar_rig.h"

namespace forge::rt {
namespace {

std::vector<std::string> vocabulary() {
  std::vector<std::string> v(256);
  for (int b = 0; b < 256; ++b) v[static_cast<size_t>(b)] = static_cast<char>(b);
  for (const char* s : {"",       "{\"",      "\":",      "\": \"",
                        "\",\"",  "\"}",      "}}",       "]}",
                        "[[",     "[[[[",     "]]",       "]]]",
                        ", ",     ",\"",      "},{\"",    "true",
                        "false",  "null",     "tr",       "ue",
                        "name",   "age",      "\"name\"", "\"name\":",
                        "na",     "me\"",     "12",       "123",
                        "1,",     "0.",       ".5",       "e-3",
                        "-1",     "-",        "\\n",      "\\\"",
                        "\\u00",  "e9",       "\xc3",     "\xc3\xa9",
                        "\xa9\"", "\xf0\x9f", "\x98\x80", "\xf0\x9f\x98\x80",
                        "\x80x",  "abc",      "ab",       "abab",
                        "ababab", "cd",       " cd",      "  ",
                        "\n",     "x\"",      "x\",",     "x\":1}",
                        "((",     "))",       "(x)",      "x))",
                        "<end>",  "{}",       "[]",       "{}]",
                        "\"\"",   "\":\"x\"}"}) {
    v.emplace_back(s);
  }
  return v;
}

constexpr uint32_t kEnd = 3;  // ends generation; its piece does not count

std::shared_ptr<const VocabularyTrie> test_trie() {
  const uint32_t ends[] = {kEnd};
  return make_vocabulary_trie(vocabulary(), ends);
}

uint32_t next_random(uint64_t& seed) {
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return static_cast<uint32_t>(seed >> 33);
}

// So many and so long tokens that what is behind the end of a rule is kept, and that pieces are of both lengths.
std::shared_ptr<const VocabularyTrie> large_trie() {
  const std::string_view parts[] = {
      "a", "b", "ab",     "ab",  "cd",   " ",   "\"",    ",",    ", ", ":", "{\"", "}", "[", "]", "1", "2",
      "x", "y", "\u00e9", "\\n", "\": ", "\",", "\",\"", "name", "(",  ")", "a",   "b", "x", "y", "1"};
  std::vector<std::string> pieces = vocabulary();
  uint64_t seed = 3;
  for (int i = 0; i < 2500; ++i) {
    std::string& piece = pieces.emplace_back();
    // Texts of few letters, too: those that go on for long.
    const uint32_t few = i % 3 == 0 ? 1 + next_random(seed) % 5 : static_cast<uint32_t>(std::size(parts));
    for (uint32_t n = 1 + next_random(seed) % (i % 2 == 0 ? 8 : 30); n > 0; --n)
      piece += parts[next_random(seed) % few];
  }
  const uint32_t ends[] = {kEnd};
  return make_vocabulary_trie(pieces, ends);
}

bool bit(std::span<const uint32_t> mask, size_t t) { return (mask[t / 32] >> (t % 32) & 1) != 0; }

// Every token, tried.
void expect_mask_is_what_is_accepted(GrammarState state, const std::string& where) {
  const auto mask = state.allowed();
  for (size_t t = 0; t < mask.size() * 32; ++t) {
    GrammarState next = state;
    EXPECT_EQ(bit(mask, t), next.accept(static_cast<int32_t>(t))) << where << ", token " << t;
  }
  EXPECT_EQ(bit(mask, kEnd), state.complete()) << where;
}

std::vector<std::pair<std::string, Result<Grammar>>> some_grammars() {
  return {
      {"object", json_object_grammar()},
      {"schema",
       schema_grammar(
           R"({"type":"object","properties":{"name":{"type":"string","maxLength":4},"age":{"type":"integer","minimum":0,"maximum":120},"l":{"type":"array","items":{"$ref":"#"}}},"required":["name"],"additionalProperties":{"type":["number","null"]}})")},
      {"value", schema_grammar("{}")},
      {"lengths",
       schema_grammar(R"({"items":{"type":"string","minLength":3,"maxLength":70},"maxItems":150})")},
      {"parentheses", parse_gbnf("root ::= \"(\" root \")\" | \"x\" | root2\nroot2 ::= \"(\" [a-z]* \")\"")},
      {"ambiguous", parse_gbnf("root ::= (a | b)* \"cd\"?\na ::= \"ab\" a | \"ab\"\nb ::= \"a\" \"b\"?")},
      {"words",
       parse_gbnf("root ::= list{1,40}\nlist ::= word (\" \" word)* \",\"\nword ::= [a-y]{1,90} | \"[\" "
                  "root \"]\"")},
      {"utf-8", regex_grammar("[\\u00e9\\u{1F600}-\\u{1F64F}x]{1,3}\"?")},
      {"blocks", regex_grammar("(?:ab|cd|\\u00e9|[^x]y){100,300}")},
  };
}

TEST(TokenMasks, AreWhatEveryTokenTriedGives) {
  struct Setting {
    std::shared_ptr<const VocabularyTrie> trie;
    size_t cache;
    int n_runs, n_steps;
  };
  // A cache that holds nearly nothing must change nothing.
  const Setting settings[] = {{test_trie(), size_t{32} << 20, 6, 25},
                              {test_trie(), size_t{400}, 6, 25},
                              {large_trie(), size_t{32} << 20, 3, 12},
                              {large_trie(), size_t{4000}, 1, 12}};
  for (const auto& [name, g] : some_grammars()) {
    ASSERT_TRUE(g) << name << ": " << g.error().message;
    for (const Setting& setting : settings) {
      auto masks = std::make_shared<TokenMasks>(setting.trie, *g, setting.cache);
      uint64_t seed = 1;
      for (int run = 0; run < setting.n_runs; ++run) {
        GrammarState state(masks);
        for (int step = 0; step < setting.n_steps; ++step) {
          expect_mask_is_what_is_accepted(
              state, std::string(name) + ", run " + std::to_string(run) + ", step " + std::to_string(step));
          if (testing::Test::HasFailure()) return;
          const auto mask = state.allowed();
          std::vector<int32_t> tokens;
          for (size_t t = 0; t < mask.size() * 32; ++t) {
            if (t != kEnd && bit(mask, t)) tokens.push_back(static_cast<int32_t>(t));
          }
          if (tokens.empty()) break;
          ASSERT_TRUE(state.accept(tokens[next_random(seed) % tokens.size()]));
        }
        EXPECT_LE(masks->cached_bytes(), std::max<size_t>(setting.cache, 16'384));
      }
    }
  }
}

TEST(TokenMasks, CharactersMaySplitOverTokens) {
  const auto g = regex_grammar("\\u{1F600}+");
  ASSERT_TRUE(g);
  GrammarState state(std::make_shared<TokenMasks>(test_trie(), *g));
  for (const int byte : {0xF0, 0x9F, 0x98}) {
    EXPECT_FALSE(state.complete());
    ASSERT_TRUE(state.accept(byte));
  }
  EXPECT_FALSE(state.accept(0x81));
  EXPECT_TRUE(state.accept(0x80));
  EXPECT_TRUE(state.complete());
}

TEST(TokenMasks, WhereOnlyTheEndIsPossibleOnlyTheEndIsAllowed) {
  const std::string choices[] = {"ab"};
  const auto g = choices_grammar(choices);
  ASSERT_TRUE(g);
  GrammarState state(std::make_shared<TokenMasks>(test_trie(), *g));
  EXPECT_FALSE(bit(state.allowed(), kEnd));
  EXPECT_FALSE(state.accept(kEnd));
  ASSERT_TRUE(state.accept('a'));
  EXPECT_FALSE(state.only_end_left());
  ASSERT_TRUE(state.accept('b'));
  const auto mask = state.allowed();
  for (size_t t = 0; t < mask.size() * 32; ++t) EXPECT_EQ(bit(mask, t), t == kEnd) << t;
  EXPECT_TRUE(state.only_end_left());
  EXPECT_TRUE(state.accept(kEnd));
  EXPECT_TRUE(state.ended());
  for (const uint32_t word : state.allowed()) EXPECT_EQ(word, 0u);
  EXPECT_FALSE(state.accept(kEnd));
  EXPECT_FALSE(state.accept(-1));
  EXPECT_FALSE(state.accept(100000));
}

TEST(TokenMasks, DepthIsBoundedAndTheMaskKnows) {
  const auto g = schema_grammar("{}");
  ASSERT_TRUE(g);
  auto masks = std::make_shared<TokenMasks>(test_trie(), *g);
  GrammarState state(masks);
  size_t depth = 0;
  while (bit(state.allowed(), '[')) {
    ASSERT_TRUE(state.accept('['));
    ASSERT_LT(++depth, 2000u);
    if (depth > 350) expect_mask_is_what_is_accepted(state, "depth " + std::to_string(depth));
    if (HasFailure()) return;
  }
  EXPECT_GT(depth, 200u);
  EXPECT_FALSE(state.accept('['));
  ASSERT_TRUE(state.accept(']'));
  for (size_t i = 1; i < depth; ++i) ASSERT_TRUE(state.accept(']')) << i;
  EXPECT_TRUE(state.complete());
  // Recursion at a rule's end takes no depth.
  const auto right = parse_gbnf("root ::= \"a\" root | \"b\"");
  ASSERT_TRUE(right);
  GrammarState flat(std::make_shared<TokenMasks>(test_trie(), *right));
  for (int i = 0; i < 5000; ++i) ASSERT_TRUE(flat.accept('a'));
}

TEST(TokenMasks, PlacesInLongRepetitionsAreAlike) {
  const auto g = regex_grammar("[a-z]{1,100}|[A-Z]{2}");
  ASSERT_TRUE(g);
  const GrammarAutomaton a = make_automaton(*g);
  const uint32_t lengths[] = {1, 5, 1000};
  const auto classes = lookahead_classes(a, lengths);
  std::vector<uint32_t> path = {a.start};
  for (int i = 0; i < 100; ++i) path.push_back(a.step(path.back(), 'x'));
  for (size_t l = 0; l < 3; ++l) {
    for (size_t i = 1; i < path.size(); ++i) {
      for (size_t j = i + 1; j < path.size(); ++j) {
        // Two places are alike where a text of that length ends in neither.
        EXPECT_EQ(classes[l][path[i]] == classes[l][path[j]], j + lengths[l] <= 100) << i << " " << j;
      }
      EXPECT_NE(classes[l][path[0]], classes[l][path[i]]);
    }
  }
}

// Random texts of a schema are JSON.
TEST(TokenMasks, WhatIsAllowedIsJson) {
  const auto g = json_object_grammar();
  ASSERT_TRUE(g);
  auto masks = std::make_shared<TokenMasks>(test_trie(), *g);
  const auto pieces = vocabulary();
  uint64_t seed = 7;
  int complete = 0;
  for (int run = 0; run < 300; ++run) {
    GrammarState state(masks);
    std::string s;
    for (int step = 0; step < 400 && !state.complete(); ++step) {
      const auto mask = state.allowed();
      std::vector<size_t> tokens;
      for (size_t t = 0; t < pieces.size(); ++t) {
        if (bit(mask, t)) tokens.push_back(t);
      }
      ASSERT_FALSE(tokens.empty()) << s;
      const size_t t = tokens[next_random(seed) % tokens.size()];
      ASSERT_TRUE(state.accept(static_cast<int32_t>(t)));
      s += pieces[t];
    }
    if (!state.complete()) continue;
    ++complete;
    EXPECT_TRUE(jinja::parse_json(s)) << s << ": " << jinja::parse_json(s).error().message;
  }
  EXPECT_GT(complete, 20);
}

size_t n_kept(const TokenMasks& masks) { return masks.entries(0).size() + masks.entries(1).size(); }

// What a program carries: the same masks, and none to find when it runs.
TEST(MaskImage, HasAllMasks) {
  const auto trie = large_trie();
  for (const auto& [name, g] : some_grammars()) {
    const auto bytes = write_mask_image(trie, *g, 8 << 20);
    EXPECT_EQ(write_mask_image(trie, *g, 8 << 20), bytes);
    ASSERT_TRUE(verify_mask_image(bytes));
    const auto read = read_mask_image(bytes, trie->n_vocab);
    ASSERT_TRUE(read) << name << ": " << read.error().message;
    const auto found = std::make_shared<TokenMasks>(trie, *g);
    const size_t n_at_start = n_kept(**read);
    EXPECT_GT(n_at_start, 0U);
    uint64_t seed = 11;
    for (int run = 0; run < 20; ++run) {
      GrammarState carried(*read);
      GrammarState fresh(found);
      for (int step = 0; step < 40; ++step) {
        const auto mask = carried.allowed();
        const auto expected = fresh.allowed();
        ASSERT_TRUE(std::equal(mask.begin(), mask.end(), expected.begin(), expected.end())) << name;
        std::vector<int32_t> tokens;
        for (size_t t = 0; t < mask.size() * 32; ++t) {
          if (t != kEnd && bit(mask, t)) tokens.push_back(static_cast<int32_t>(t));
        }
        if (tokens.empty()) break;
        const int32_t token = tokens[next_random(seed) % tokens.size()];
        ASSERT_TRUE(carried.accept(token));
        ASSERT_TRUE(fresh.accept(token));
      }
    }
    EXPECT_GT(n_kept(*found), 0U) << name;
    // One of them has more than there is room for.
    if (name != "ambiguous") EXPECT_EQ(n_kept(**read), n_at_start) << name;
  }
}

TEST(MaskImage, HoldsWhatFits) {
  const auto trie = large_trie();
  const auto g = some_grammars()[1].second;
  const auto all = write_mask_image(trie, *g, 8 << 20);
  const auto few = write_mask_image(trie, *g, 4096);
  EXPECT_LT(few.size(), all.size());
  const auto read = read_mask_image(few, trie->n_vocab);
  ASSERT_TRUE(read);
  GrammarState carried(*read);
  GrammarState fresh(std::make_shared<TokenMasks>(trie, *g));
  EXPECT_TRUE(std::equal(carried.allowed().begin(), carried.allowed().end(), fresh.allowed().begin()));
}

TEST(MaskImage, DamageIsFound) {
  const auto trie = test_trie();
  const auto bytes = write_mask_image(trie, *json_object_grammar(), 1 << 20);
  EXPECT_FALSE(read_mask_image(bytes, trie->n_vocab + 1));
  for (size_t i = 0; i < bytes.size(); i += i < 64 ? 1 : 101) {
    auto damaged = bytes;
    damaged[i] ^= 4;
    EXPECT_FALSE(verify_mask_image(damaged)) << i;
    EXPECT_FALSE(read_mask_image(damaged, trie->n_vocab)) << i;
  }
  for (size_t n = 0; n < bytes.size(); n += 301) {
    EXPECT_FALSE(read_mask_image(std::span(bytes).first(n), trie->n_vocab)) << n;
  }
}

}  // namespace
}  // namespace forge::rt
