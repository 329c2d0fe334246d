// Hugging Face directories against llama.cpp's conversion of them (tests/goldens/make_architecture_goldens.py), and
// what is refused.
#include "models/huggingface.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

#include "formats/json.h"
#include "tests/core/expect_error.h"
#include "tests/core/temporary_directory.h"

namespace forge {
namespace {

const std::string kGoldens = FORGE_SOURCE_DIR "/tests/goldens/";

std::vector<std::string> golden_names() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(kGoldens + "hf"))
    names.push_back(entry.path().filename());
  std::ranges::sort(names);
  return names;
}

class HuggingFace : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(, HuggingFace, testing::ValuesIn(golden_names()), [](const auto& p) {
  std::string name = p.param;
  std::ranges::replace(name, '-', '_');
  return name;
});

TEST_P(HuggingFace, HasTheTensorsOfTheGguf) {
  const Checkpoint ours = read_huggingface(kGoldens + "hf/" + GetParam());
  const Checkpoint gguf = read_gguf(kGoldens + GetParam() + ".gguf");
  EXPECT_EQ(ours.tensors.size(), gguf.tensors.size());
  for (const Tensor& expected : gguf.tensors) {
    const Tensor* t = ours.find(expected.name);
    ASSERT_NE(t, nullptr) << expected.name;
    EXPECT_EQ(t->type, expected.type) << expected.name;
    EXPECT_EQ(t->shape, expected.shape) << expected.name;
    if (expected.name == "rope_freqs.weight") {
      // Computed: float32's rounding of pow and of the quotients between differs by a few units.
      for (size_t i = 0; i < t->data.size(); i += sizeof(float)) {
        float a = 0, b = 0;
        std::memcpy(&a, t->data.data() + i, sizeof a);
        std::memcpy(&b, expected.data.data() + i, sizeof b);
        EXPECT_NEAR(a, b, 0x1p-20F * b);
      }
    } else {
      EXPECT_TRUE(std::ranges::equal(t->data, expected.data)) << expected.name;
    }
  }
}

TEST_P(HuggingFace, HasTheMetadataOfTheGguf) {
  const Metadata ours = read_huggingface(kGoldens + "hf/" + GetParam()).meta;
  const Metadata gguf = read_gguf(kGoldens + GetParam() + ".gguf").meta;
  // Made up by the converter from the file's name and size.
  const std::set<std::string> kNotOurs = {"general.name", "general.size_label", "general.basename",
                                          "general.quantization_version"};
  for (const auto& [key, expected] : gguf.entries()) {
    if (kNotOurs.contains(key)) continue;
    const MetaValue* value = ours.find(key);
    ASSERT_NE(value, nullptr) << key;
    EXPECT_EQ(value->type, expected.type) << key;
    EXPECT_EQ(value->element, expected.element) << key;
    EXPECT_EQ(value->value, expected.value) << key;
  }
}

TEST_P(HuggingFace, KeepsMatricesInTheFile) {
  const Checkpoint c = read_huggingface(kGoldens + "hf/" + GetParam());
  const auto is_mapped = [&](const Tensor& t) {
    return std::ranges::any_of(c.files, [&](const auto file) {
      return t.data.data() >= file.data() && t.data.data() + t.data.size() <= file.data() + file.size();
    });
  };
  const bool transposed = GetParam() == "gpt2";
  const bool interleaved = c.meta.string("general.architecture") == "llama" ||
                           c.meta.string("general.architecture") == "smollm3" ||
                           c.meta.string("general.architecture") == "granite";
  for (const Tensor& t : c.tensors) {
    const bool changed = t.shape.size() < 2 || t.name == "position_embd.weight" ||
                         (transposed && t.name != "token_embd.weight") ||
                         (interleaved && (t.name.find("attn_q.") != std::string::npos ||
                                          t.name.find("attn_k.") != std::string::npos));
    EXPECT_EQ(is_mapped(t), !changed) << t.name;
  }
}

}  // namespace
}  // namespace forge
