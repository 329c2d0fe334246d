// Hugging Face directories against llama.cpp's conversion of them (tests/goldens/make_architecture_goldens.py), and
// what is refused.
#include "models/huggingface.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>

#include "formats/json.h"
#include "formats/tokenizer_tables.h"
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

// A copy of a golden directory, with changes.
class HuggingFaceDirectory : public testing::Test {
 protected:
  void copy(const std::string& golden) const {
    for (const auto& entry : std::filesystem::directory_iterator(fmt::format("{}hf/{}", kGoldens, golden)))
      write_file(directory_.file(entry.path().filename()), read_file(entry.path()));
  }
  Json json(const std::string& name) const { return parse_json(name, read_file(directory_.file(name))); }
  void write(const std::string& name, const Json& value) const { write_text(name, value.dump()); }
  void write_text(const std::string& name, const std::string& text) const {
    write_file(directory_.file(name), {reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  }
  void change(const std::string& name, const Json& more) const {
    Json value = json(name);
    value.update(more);
    write(name, value);
  }
  Checkpoint read() const { return read_huggingface(directory_.path()); }
  Metadata meta() const { return read().meta; }
  // A configuration that a golden directory would be refused with.
  void refuse(const std::string& golden, const Json& more,
              std::initializer_list<std::string_view> parts) const {
    copy(golden);
    change("config.json", more);
    expect_error([&] { read(); }, parts);
  }

  Json safetensors_header() const {
    const std::vector<uint8_t> bytes = read_file(directory_.file("model-00001-of-00001.safetensors"));
    uint64_t n = 0;
    std::memcpy(&n, bytes.data(), sizeof n);
    return parse_json("header", std::span(bytes).subspan(sizeof n, n));
  }

  const TemporaryDirectory directory_;
};

TEST_F(HuggingFaceDirectory, RefusesWhatTheGraphsCantExpress) {
  refuse("llama", {{"architectures", {"MambaForCausalLM"}}},
         {"config.json: architectures names \"MambaForCausalLM\", which is not supported (known: "
          "LlamaForCausalLM, "});
  refuse("llama", {{"architectures", nullptr}}, {"no class in key architectures"});
  refuse("llama", {{"hidden_act", "relu"}}, {"the activation is \"relu\", expected silu or swish"});
  refuse("llama", {{"quantization_config", {{"quant_method", "gptq"}}}},
         {"the weights are quantized (gptq)"});
  refuse("llama", {{"num_local_experts", 8}}, {"mixtures of experts"});
  refuse("llama", {{"rope_parameters", {{"rope_type", "dynamic"}}}}, {"rope_type is \"dynamic\""});
  refuse("llama", {{"rope_parameters", {{"rope_type", "longrope"}}}}, {"rope_type is \"longrope\""});
  refuse("llama", {{"rope_parameters", {{"rope_type", "linear"}}}}, {"factor is missing"});
  refuse("llama", {{"num_attention_heads", 3}}, {"self_attn.q_proj.weight", "32 rows, expected 3 heads"});
  refuse("qwen2", {{"use_sliding_window", true}}, {"use_sliding_window is true"});
  refuse("qwen2", {{"layer_types", {"full_attention", "sliding_attention"}}}, {"layer_types is"});
  refuse("gemma2", {{"query_pre_attn_scalar", 144}},
         {"query_pre_attn_scalar is 144, expected the head's size, 8"});
  refuse("gemma2", {{"layer_types", Json::array({"full_attention"})}}, {"layer_types is"});
  refuse("gemma3", {{"_sliding_window_pattern", 4}}, {"sliding_window_pattern"});
  refuse("smollm3", {{"no_rope_layers", {1, 1, 0, 1, 1}}}, {"no_rope_layers is [1,1,0,1,1]"});
  refuse("llama", {{"tie_word_embeddings", false}}, {"lm_head.weight is missing"});
  refuse("stablelm", {{"qk_layernorm", true}}, {"qk_layernorm is true"});
  refuse("gpt2", {{"scale_attn_by_inverse_layer_idx", true}}, {"scale_attn_by_inverse_layer_idx is true"});
  refuse("phi3-long", {{"rope_parameters", {{"rope_type", "longrope"}, {"long_factor", {1.0}}}}},
         {"long_factor is [1.0], expected 4 numbers"});
}

TEST_F(HuggingFaceDirectory, RefusesValuesOfOtherKindsByKey) {
  refuse("llama", {{"num_hidden_layers", "2"}},
         {"config.json: key \"num_hidden_layers\" is no whole number"});
  refuse("llama", {{"num_hidden_layers", 2.5}}, {"is no whole number"});
  refuse("llama", {{"num_hidden_layers", 0}}, {"\"num_hidden_layers\" is 0, expected 1 to 2^24"});
  refuse("llama", {{"num_hidden_layers", 18446744073709551615ULL}}, {"is no whole number"});
  refuse("llama", {{"hidden_size", nullptr}}, {"key \"hidden_size\" is missing"});
  refuse("llama", {{"rms_norm_eps", 1e300}}, {"key \"rms_norm_eps\" is no number"});
  refuse("llama", {{"rope_parameters", 3}}, {"key \"rope_parameters\" is no object"});
  refuse("llama", {{"tie_word_embeddings", 1}}, {"key \"tie_word_embeddings\" is no bool"});
  refuse("phi3-long", {{"rope_parameters", {{"rope_type", "longrope"}, {"long_factor", {1, "2"}}}}},
         {"key \"long_factor\" is no array of numbers"});
  copy("llama");
  write_text("config.json", "[]");
  expect_error([&] { read(); }, {"config.json: no object"});
}

TEST_F(HuggingFaceDirectory, MissingFilesAreNamed) {
  expect_error([&] { read(); }, {"holds no config.json"});
  copy("llama");
  std::filesystem::remove(directory_.file("tokenizer.json"));
  expect_error([&] { read(); }, {"holds no tokenizer.json"});
  std::filesystem::remove(directory_.file("model.safetensors"));
  expect_error([&] { read(); }, {"model.safetensors is missing"});
  write_text("pytorch_model.bin", "x");
  expect_error([&] { read(); }, {"holds pytorch_model.bin, expected model.safetensors"});
}

TEST_F(HuggingFaceDirectory, OldSpellingsMeanTheSame) {
  copy("llama");
  const std::vector<uint8_t> now = encode_metadata(meta());
  Json config = json("config.json");
  const Json rope = config["rope_parameters"];
  config.erase("rope_parameters");
  config["rope_theta"] = rope["rope_theta"];
  config["rope_scaling"] = rope;
  config["rope_scaling"].erase("rope_theta");
  config["rope_scaling"]["type"] = "llama3";
  config["rope_scaling"].erase("rope_type");
  write("config.json", config);
  EXPECT_EQ(encode_metadata(meta()), now);
}

TEST_F(HuggingFaceDirectory, TextPartOfAModelOfTextAndImages) {
  copy("gemma3");
  const Checkpoint plain = read();
  Json text = json("config.json");
  text.erase("architectures");
  for (const char* key : {"num_attention_heads", "num_key_value_heads", "head_dim", "query_pre_attn_scalar"})
    EXPECT_TRUE(text.contains(key)) << key;
  write("config.json", {{"architectures", {"Gemma3ForConditionalGeneration"}},
                        {"vision_config", Json::object()},
                        {"eos_token_id", {1, 106}},
                        {"text_config", text}});
  EXPECT_EQ(encode_metadata(read().meta), encode_metadata(plain.meta));
  text.erase("num_attention_heads");  // its class says 8
  text.erase("num_key_value_heads");  // 4
  change("config.json", {{"text_config", text}});
  EXPECT_EQ(meta().integer("gemma3.attention.head_count"), 8);
  EXPECT_EQ(meta().integer("gemma3.attention.head_count_kv"), 4);
}

TEST_F(HuggingFaceDirectory, ShardsAreOneModel) {
  copy("qwen2");
  const Checkpoint whole = read();
  // The one file under another name, by an index.
  std::filesystem::rename(directory_.file("model.safetensors"),
                          directory_.file("model-00001-of-00001.safetensors"));
  Json map = Json::object();
  const Json header = safetensors_header();
  for (const auto& [name, entry] : header.items())
    if (name != "__metadata__") map[name] = "model-00001-of-00001.safetensors";
  write("model.safetensors.index.json", {{"weight_map", map}});
  const Checkpoint sharded = read();
  ASSERT_EQ(sharded.tensors.size(), whole.tensors.size());
  for (size_t i = 0; i < whole.tensors.size(); ++i) {
    EXPECT_EQ(sharded.tensors[i].name, whole.tensors[i].name);
    EXPECT_TRUE(std::ranges::equal(sharded.tensors[i].data, whole.tensors[i].data));
  }
  const std::vector<std::string> files = huggingface_files(directory_.path());
  EXPECT_NE(std::ranges::find(files, directory_.file("model-00001-of-00001.safetensors")), files.end());
  EXPECT_NE(std::ranges::find(files, directory_.file("config.json")), files.end());
}

TEST_F(HuggingFaceDirectory, SpecialTokens) {
  copy("llama");
  EXPECT_EQ(meta().integer("tokenizer.ggml.bos_token_id"), 256);
  EXPECT_EQ(meta().boolean("tokenizer.ggml.add_bos_token"), true);
  EXPECT_EQ(meta().find(kEosTokenIdsKey), nullptr);
  // tokenizer_config.json goes before config.json; a token may be an object.
  change("tokenizer_config.json", {{"bos_token", {{"content", "<pad>"}}}, {"add_bos_token", false}});
  EXPECT_EQ(meta().integer("tokenizer.ggml.bos_token_id"), 258);
  EXPECT_EQ(meta().boolean("tokenizer.ggml.add_bos_token"), false);
  // Several ends of an answer, in either place; ids that are no tokens are left out.
  change("generation_config.json", {{"eos_token_id", {257, 258, 9999}}});
  change("config.json", {{"eos_token_id", 5}});
  EXPECT_EQ(*meta().integers(kEosTokenIdsKey), (std::vector<int64_t>{257, 258, 5}));
  EXPECT_EQ(meta().integer("tokenizer.ggml.eos_token_id"), 257);
  change("config.json", {{"eos_token_id", {257, "x"}}});
  expect_error([&] { read(); }, {"config.json: key \"eos_token_id\" is no array of whole numbers"});
}

TEST_F(HuggingFaceDirectory, ChatTemplates) {
  copy("llama");
  const std::string key = "tokenizer.chat_template";
  write("chat_template.json", {{"chat_template", "json"}});
  change("tokenizer_config.json", {{"chat_template", "config"}});
  EXPECT_EQ(meta().string(key), "config");
  write_text("chat_template.jinja", "jinja\n");
  EXPECT_EQ(meta().string(key), "jinja\n");
  std::filesystem::remove(directory_.file("chat_template.jinja"));
  change("tokenizer_config.json", {{"chat_template", nullptr}});
  EXPECT_EQ(meta().string(key), "json");
  change("tokenizer_config.json",
         {{"chat_template",
           {{{"name", "tool_use"}, {"template", "t"}}, {{"name", "default"}, {"template", "d"}}}}});
  EXPECT_EQ(meta().string(key), "d");
  EXPECT_EQ(meta().string(key + ".tool_use"), "t");
  EXPECT_EQ(*meta().strings("tokenizer.chat_templates"), std::vector<std::string>{"tool_use"});
  change("tokenizer_config.json", {{"chat_template", Json::array({{{"name", "rag"}, {"template", "r"}}})}});
  EXPECT_EQ(meta().string(key), "r");
  change("tokenizer_config.json", {{"chat_template", Json::array({{{"name", "rag"}}})}});
  expect_error([&] { read(); }, {"tokenizer_config.json: chat_template is"});
  change("tokenizer_config.json", {{"chat_template", 3}});
  expect_error([&] { read(); }, {"key \"chat_template\" is no string"});
}

TEST_F(HuggingFaceDirectory, SamplingDefaults) {
  copy("llama");
  EXPECT_EQ(meta().find("general.sampling.temp"), nullptr);
  change("generation_config.json",
         {{"temperature", 0.6}, {"top_k", 20}, {"top_p", 0.95}, {"repetition_penalty", 1.05}});
  const Metadata m = meta();
  EXPECT_FLOAT_EQ(static_cast<float>(*m.number("general.sampling.temp")), 0.6F);
  EXPECT_EQ(m.integer("general.sampling.top_k"), 20);
  EXPECT_FLOAT_EQ(static_cast<float>(*m.number("general.sampling.top_p")), 0.95F);
  EXPECT_FLOAT_EQ(static_cast<float>(*m.number("general.sampling.penalty_repeat")), 1.05F);
  change("generation_config.json", {{"top_k", 3000000000}});
  expect_error([&] { read(); }, {"generation_config.json: top_k is 3000000000, expected less than 2^31"});
}

TEST_F(HuggingFaceDirectory, VocabularyIsAsLongAsTheEmbedding) {
  copy("llama");
  Json tokenizer = json("tokenizer.json");
  // The last pieces and the merges that make them.
  const Json vocabulary = tokenizer["model"]["vocab"];
  for (const auto& [text, id] : vocabulary.items())
    if (id >= 280) tokenizer["model"]["vocab"].erase(text);
  tokenizer["model"]["merges"] = Json::array();
  write("tokenizer.json", tokenizer);
  const Metadata m = meta();
  ASSERT_EQ(m.strings("tokenizer.ggml.tokens")->size(), 288u);
  EXPECT_EQ(m.strings("tokenizer.ggml.tokens")->back(), "[PAD287]");
  EXPECT_EQ(m.integers("tokenizer.ggml.token_type")->back(), 5);
  tokenizer["added_tokens"].push_back({{"id", 300}, {"content", "<new>"}, {"special", true}});
  write("tokenizer.json", tokenizer);
  expect_error([&] { read(); }, {"301 tokens, but the embedding has 288 rows"});
}

// Tensors of a model, changed one at a time.
TEST_F(HuggingFaceDirectory, TensorsWithoutAPlaceOrOfOtherTypesAreNamed) {
  copy("llama");
  const auto with = [&](const std::string& from, const std::string& to) {
    std::vector<uint8_t> bytes = read_file(kGoldens + "hf/llama/model.safetensors");
    const auto at = std::ranges::search(bytes, from).begin();
    EXPECT_NE(at, bytes.end());
    EXPECT_EQ(from.size(), to.size());
    std::ranges::copy(to, at);
    write_file(directory_.file("model.safetensors"), bytes);
  };
  with("model.layers.0.mlp.up_proj", "model.layers.0.mlp.in_proj");
  expect_error([&] { read(); },
               {"tensor \"model.layers.0.mlp.in_proj.weight\" has no place in the architecture 'llama'"});
  with(R"("dtype":"BF16")", R"("dtype": "I16")");
  expect_error([&] { read(); }, {"is of type I16, expected F32, F16 or BF16"});
  with("model.layers.0.mlp.up_proj", "model.layers.1.mlp.up_proj");
  expect_error([&] { read(); }, {"key \"model.layers.1.mlp.up_proj.weight\" twice"});
}

}  // namespace
}  // namespace forge
