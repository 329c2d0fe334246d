#include "runtime/core/payload.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <set>

#include "tests/runtime/fake_payload.h"
#include "toolchain/artifact.h"

namespace forge::rt {
namespace {

std::vector<uint8_t> fake_payload() { return build_payload(fake_payload_input(), true); }

// Makes the hashes right again, so that what lies behind them is checked.
void reseal(std::vector<uint8_t>& bytes) {
  PayloadHeader header;
  std::memcpy(&header, bytes.data(), sizeof header);
  std::vector<SectionEntry> table(header.n_sections);
  std::memcpy(table.data(), bytes.data() + sizeof header, table.size() * sizeof(SectionEntry));
  for (SectionEntry& e : table) {
    if (std::string_view(e.name) == "weights" || e.offset > bytes.size() || e.bytes > bytes.size() - e.offset)
      continue;
    e.hash = hash64(std::span(bytes).subspan(e.offset, e.bytes));
  }
  header.table_hash = payload_table_hash(header, table);
  std::memcpy(bytes.data(), &header, sizeof header);
  std::memcpy(bytes.data() + sizeof header, table.data(), table.size() * sizeof(SectionEntry));
}

SectionEntry& section(std::vector<uint8_t>& bytes, std::string_view name) {
  auto* table = reinterpret_cast<SectionEntry*>(bytes.data() + sizeof(PayloadHeader));
  while (std::string_view(table->name) != name) ++table;
  return *table;
}

void expect_error(const Result<Payload>& result, const std::string& part) {
  ASSERT_FALSE(result) << "expected an error with: " << part;
  EXPECT_NE(result.error().message.find(part), std::string::npos) << result.error().message;
}

TEST(Hash, KnownValuesAcrossLengths) {
  std::vector<uint8_t> bytes(1000);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i * 7);
  // Payloads on disk hold these: a change of the function is a change of the format.
  EXPECT_EQ(hash64({}), 16602789032983643719ULL);
  EXPECT_EQ(hash64(std::span(bytes).first(1)), 5046272239653882681ULL);
  EXPECT_EQ(hash64(std::span(bytes).first(128)), 2454227828625748406ULL);
  EXPECT_EQ(hash64(bytes, 5), 4058026132569430440ULL);
}

TEST(Hash, DependsOnEveryByteLengthAndSeed) {
  std::vector<uint8_t> bytes(300);
  std::set<uint64_t> seen;
  for (size_t n = 0; n <= bytes.size(); ++n)
    EXPECT_TRUE(seen.insert(hash64(std::span(bytes).first(n))).second) << n;
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = 1;
    EXPECT_TRUE(seen.insert(hash64(bytes)).second) << i;
    bytes[i] = 0;
  }
  EXPECT_TRUE(seen.insert(hash64(bytes, 1)).second);
}

TEST(Payload, RoundTrip) {
  const auto bytes = fake_payload();
  const auto payload = open_payload(bytes);
  ASSERT_TRUE(payload) << payload.error().message;
  EXPECT_EQ(*payload->string("note"), "two\nlines and a \\");
  EXPECT_FALSE(payload->string("absent"));
  EXPECT_FALSE(payload->integer("model.name"));
  EXPECT_EQ(payload->chat_template, kFakeTemplate);
  EXPECT_EQ(payload->source_kv.size(), 3U);
  EXPECT_EQ(payload->weights.size(), 1536U);
  const auto table = parse_tensor_table(*payload);
  ASSERT_TRUE(table) << table.error().message;
  ASSERT_EQ(table->size(), 3U);
  EXPECT_EQ((*table)[1].name, "t1");
  EXPECT_EQ((*table)[1].cols, 11U);
  EXPECT_TRUE(verify_weights(*payload));
}

TEST(Payload, WithoutWeights) {
  const auto bytes = build_payload(fake_payload_input(), false);
  const auto payload = open_payload(bytes);
  ASSERT_TRUE(payload) << payload.error().message;
  EXPECT_TRUE(payload->weights.empty());
  EXPECT_TRUE(parse_tensor_table(*payload, AbsentWeights::allowed));
  const auto table = parse_tensor_table(*payload);
  ASSERT_FALSE(table);
  EXPECT_NE(table.error().message.find("'t0'"), std::string::npos) << table.error().message;
  const Status verified = verify_weights(*payload);
  ASSERT_FALSE(verified);
  EXPECT_NE(verified.error().message.find("no weights to verify"), std::string::npos)
      << verified.error().message;
}

TEST(Payload, EveryTruncationIsFound) {
  const auto bytes = fake_payload();
  for (size_t n = 0; n < bytes.size(); n += n < 2048 ? 1 : 97) {
    EXPECT_FALSE(open_payload(std::span(bytes).first(n))) << n;
  }
}

TEST(Payload, EveryFlippedByteIsFound) {
  auto bytes = fake_payload();
  const auto weights = section(bytes, "weights");
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] ^= 0x40;
    const auto payload = open_payload(bytes);
    if (i >= weights.offset && i < weights.offset + weights.bytes) {
      ASSERT_TRUE(payload) << i;
      EXPECT_FALSE(verify_weights(*payload)) << i;
    } else {
      EXPECT_FALSE(payload) << i;
    }
    bytes[i] ^= 0x40;
  }
}

TEST(Payload, VerifyNamesTheTensor) {
  auto bytes = fake_payload();
  bytes[section(bytes, "weights").offset + 512 + 3] ^= 1;
  const auto payload = open_payload(bytes);
  ASSERT_TRUE(payload);
  const Status verified = verify_weights(*payload);
  ASSERT_FALSE(verified);
  EXPECT_NE(verified.error().message.find("'t1'"), std::string::npos) << verified.error().message;
}

// What an adversary can do who knows the hash: structures must hold nevertheless.
TEST(Payload, ResealedNonsenseIsFound) {
  const auto whole = fake_payload();
  const auto with = [&](const auto& change, const std::string& part) {
    auto bytes = whole;
    change(bytes);
    reseal(bytes);
    expect_error(open_payload(bytes), part);
  };
  with([](auto& b) { section(b, "manifest").offset += 1; }, "'manifest'");
  with([](auto& b) { section(b, "tokenizer").bytes = UINT64_MAX; }, "'tokenizer'");
  with([](auto& b) { section(b, "template").offset = UINT64_MAX - 255; }, "'template'");
  with([](auto& b) { section(b, "tokenizer").offset = section(b, "manifest").offset; }, "overlaps");
  with([](auto& b) { std::memcpy(section(b, "tensors").name, "nonsense", 8); }, "unknown section");
  with([](auto& b) { std::memset(section(b, "tensors").name, 'x', 24); }, "unknown section");
  with([](auto& b) { std::memcpy(section(b, "tokenizer").name, "manifest\0", 10); }, "twice");
  with([](auto& b) { b[8] = 9; }, "version");
  with([](auto& b) { b[section(b, "manifest").offset + std::strlen("answer.format ")] = 'x'; },
       "manifest line 1");
  with([](auto& b) { reinterpret_cast<PayloadHeader*>(b.data())->n_sections = 5; }, "padding");
}

TEST(Payload, ResealedTensorTables) {
  for (const char* line :
       {"t0\tf32\t10\t10\trows\t0\t400", "t0\tf32\t10\t10\trows\t1\t400\t0000000000000000",
        "t0\tf32\t10\t10\trows\t0\t1537\t0000000000000000", "t0\tf32\t-1\t10\trows\t0\t4\t0000000000000000",
        "t0\tf32\t99999999999999999999\t10\trows\t0\t4\t0000000000000000",
        "t0\tf32\t1\t1\trows\t18446744073709551360\t512\t0000000000000000",
        "t0\tf32\t1\t1\trows\t0\t4\t000000000000000g", "\tf32\t1\t1\trows\t0\t4\t0000000000000000"}) {
    auto bytes = fake_payload();
    auto payload = open_payload(bytes);
    ASSERT_TRUE(payload);
    payload->tensors = line;
    EXPECT_FALSE(parse_tensor_table(*payload)) << line;
    EXPECT_FALSE(verify_weights(*payload)) << line;
  }
}

// Random bytes changed and resealed: whatever opens must hold together (sanitizers watch).
TEST(Payload, MutationsNeverCrash) {
  const auto whole = fake_payload();
  std::mt19937 random(1);
  size_t n_opened = 0;
  for (int i = 0; i < 3000; ++i) {
    auto bytes = whole;
    for (uint32_t n = 1 + random() % 4; n != 0; --n) {
      // Mostly in the header and the table, where structure is.
      bytes[random() % (random() % 2 == 0 ? 448 : bytes.size())] = static_cast<uint8_t>(random());
    }
    if (random() % 2 == 0) bytes.resize(random() % bytes.size());
    if (bytes.size() >= 448 && reinterpret_cast<const PayloadHeader*>(bytes.data())->n_sections <= 6)
      reseal(bytes);
    const auto payload = open_payload(bytes);
    if (!payload) continue;
    ++n_opened;
    (void)parse_tensor_table(*payload);
    (void)verify_weights(*payload);
  }
  EXPECT_GT(n_opened, 10U);
}

}  // namespace
}  // namespace forge::rt
