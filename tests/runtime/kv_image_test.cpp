#include "runtime/core/kv_image.h"

#include <gtest/gtest.h>

#include <cstring>

#include "runtime/core/generation.h"
#include "tests/runtime/engine_rig.h"

namespace forge::rt {
namespace {

std::vector<uint8_t> joined(const std::vector<std::span<const uint8_t>>& parts) {
  std::vector<uint8_t> out;
  for (const auto part : parts) out.insert(out.end(), part.begin(), part.end());
  return out;
}

// The image of a prompt of n tokens that the rig's engine ran.
std::vector<uint8_t> image_of(Rig& rig, uint32_t n, std::string_view note = {}) {
  Sequence sequence;
  const auto tokens = some_tokens(n, 3);
  EXPECT_TRUE(prefill(*rig.engine, sequence, tokens));
  KvImageHeader header{};
  auto out = joined(kv_image_parts(kv_identity(rig.model.code, rig.payload), rig.engine->pool(), sequence,
                                   tokens, n, note, header));
  rig.engine->pool().truncate(sequence, 0);
  return out;
}

TEST(KvImage, GivesBackWhatWasThere) {
  Rig rig;
  for (const uint32_t n : {0U, 1U, 63U, 64U, 65U, 200U}) {
    const auto bytes = image_of(rig, n, "a note");
    EXPECT_TRUE(verify_kv_image(bytes));
    EXPECT_EQ(image_of(rig, n).size(), kv_image_bytes(kv_identity(rig.model.code, rig.payload), n));
    const auto image = read_kv_image(bytes, kv_identity(rig.model.code, rig.payload), KvImageCheck::all);
    ASSERT_TRUE(image) << image.error().message;
    EXPECT_EQ(image->tokens, some_tokens(n, 3));
    EXPECT_EQ(image->n_past, n);
    EXPECT_EQ(image->n_prompt_rows, n);
    EXPECT_EQ(image->note, "a note");
    if (n == 0) continue;
    EXPECT_EQ((image->pages.data() - bytes.data()) % static_cast<ptrdiff_t>(kPageAlignment), 0);
    // Placed, it is what running the tokens gives.
    Sequence placed;
    Sequence run;
    ASSERT_TRUE(place_kv(*image, n, rig.engine->pool(), placed));
    ASSERT_TRUE(prefill(*rig.engine, run, some_tokens(n, 3)));
    ASSERT_EQ(placed.n_past, run.n_past);
    const Row row{.token = 7, .position = static_cast<int32_t>(n), .want = Want::logits};
    const BatchSequence a{.kv = &placed};
    const BatchSequence b{.kv = &run};
    EXPECT_EQ(rig.step({.rows = {&row, 1}, .sequences = {&a, 1}}).logits,
              rig.step({.rows = {&row, 1}, .sequences = {&b, 1}}).logits);
    rig.engine->pool().truncate(placed, 0);
    rig.engine->pool().truncate(run, 0);
  }
}

TEST(KvImage, PlacesABeginning) {
  Rig rig;
  const auto bytes = image_of(rig, 200);
  const auto image = read_kv_image(bytes, kv_identity(rig.model.code, rig.payload), KvImageCheck::shape);
  ASSERT_TRUE(image);
  Sequence sequence;
  ASSERT_TRUE(place_kv(*image, 70, rig.engine->pool(), sequence));
  EXPECT_EQ(sequence.n_past, 70U);
  EXPECT_EQ(sequence.pages.size(), 2U);
  Rig small(16, 4, 512, 1);  // one page
  Sequence none;
  EXPECT_FALSE(place_kv(*image, 70, small.engine->pool(), none));
  EXPECT_TRUE(none.pages.empty());
}

TEST(KvImage, MapsWhereTheHostCan) {
  Rig rig;
  const auto bytes = image_of(rig, 130);
  auto image = read_kv_image(bytes, kv_identity(rig.model.code, rig.payload), KvImageCheck::all);
  ASSERT_TRUE(image);
  std::vector<uint64_t> offsets;
  image->map = [&](std::span<uint8_t> to, uint64_t offset) {
    offsets.push_back(offset);
    std::memset(to.data(), 1, to.size());
    return offset != 0;  // the first is copied
  };
  Sequence sequence;
  ASSERT_TRUE(place_kv(*image, 130, rig.engine->pool(), sequence));
  const uint64_t page = rig.model.code.kv_page_bytes;
  EXPECT_EQ(offsets, (std::vector<uint64_t>{0, page, 2 * page}));
  EXPECT_EQ(std::memcmp(rig.engine->pool().page(sequence.pages[0]).data(), image->pages.data(), page), 0);
  EXPECT_EQ(rig.engine->pool().page(sequence.pages[1])[0], 1);
}

TEST(KvImage, BelongsToOneModelAndOneLevel) {
  Rig rig;
  const auto bytes = image_of(rig, 70);
  const KvIdentity own = kv_identity(rig.model.code, rig.payload);
  for (uint64_t KvIdentity::* field : {&KvIdentity::plan_hash, &KvIdentity::model_hash}) {
    KvIdentity other = own;
    ++(other.*field);
    EXPECT_FALSE(read_kv_image(bytes, other, KvImageCheck::all));
    EXPECT_TRUE(read_kv_image(bytes, other, KvImageCheck::shape));
  }
  KvIdentity other = own;
  other.page_bytes *= 2;
  EXPECT_FALSE(read_kv_image(bytes, other, KvImageCheck::shape));
  other = own;
  other.n_vocab = 2;
  EXPECT_FALSE(read_kv_image(bytes, other, KvImageCheck::all));
  // Another level computes other bits, perhaps: none of its rows is what a prompt's row would be here.
  other = own;
  other.level = "another";
  const auto image = read_kv_image(bytes, other, KvImageCheck::all);
  ASSERT_TRUE(image);
  EXPECT_EQ(image->n_past, 70U);
  EXPECT_EQ(image->n_prompt_rows, 0U);
}

TEST(KvImage, DamageIsFound) {
  Rig rig;
  const auto bytes = image_of(rig, 70, "note");
  const KvIdentity own = kv_identity(rig.model.code, rig.payload);
  for (size_t i = 0; i < bytes.size(); i += i < 512 ? 1 : 37) {
    auto damaged = bytes;
    damaged[i] ^= 0x10;
    EXPECT_FALSE(read_kv_image(damaged, own, KvImageCheck::all)) << i;
    EXPECT_FALSE(verify_kv_image(damaged)) << i;
    (void)read_kv_image(damaged, own, KvImageCheck::shape);
  }
  for (size_t n = 0; n < bytes.size(); n += 61) {
    EXPECT_FALSE(read_kv_image(std::span(bytes).first(n), own, KvImageCheck::shape)) << n;
  }
  auto longer = bytes;
  longer.resize(longer.size() + 1);
  EXPECT_FALSE(read_kv_image(longer, own, KvImageCheck::shape));
}

// Lengths that overflow when they are added up.
TEST(KvImage, HostileHeaders) {
  Rig rig;
  const auto bytes = image_of(rig, 70, "note");
  const KvIdentity own = kv_identity(rig.model.code, rig.payload);
  for (const size_t field : {offsetof(KvImageHeader, n_tokens), offsetof(KvImageHeader, note_bytes),
                             offsetof(KvImageHeader, kv_page_bytes), offsetof(KvImageHeader, n_past)}) {
    for (const uint64_t value :
         {uint64_t{0}, UINT64_MAX, UINT64_MAX - 4096, uint64_t{1} << 62, uint64_t{1} << 63}) {
      // A shorter note is one with more padding behind it: only the hash tells.
      if (value == 0 && field == offsetof(KvImageHeader, note_bytes)) continue;
      auto altered = bytes;
      std::memcpy(altered.data() + field, &value, field == offsetof(KvImageHeader, n_past) ? 4 : 8);
      EXPECT_FALSE(read_kv_image(altered, own, KvImageCheck::shape)) << field << " " << value;
    }
  }
}

}  // namespace
}  // namespace forge::rt
