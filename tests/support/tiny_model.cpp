#include "tests/support/tiny_model.h"

#include <fmt/format.h>
#include <iterator>

#include <array>
#include <cmath>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "quant/half.h"
#include "quant/packed.h"

namespace forge::test {
namespace {

struct Builder {
  const TinyModel& m;
  Checkpoint c = {};
  std::mt19937_64 random;

  void integer(const std::string& key, int64_t v) {
    c.meta.set(m.architecture + "." + key, {MetaType::u32, MetaType::u32, v});
  }
  void number(const std::string& key, double v) {
    c.meta.set(m.architecture + "." + key, {MetaType::f32, MetaType::f32, v});
  }

  void tensor(const std::string& name, std::vector<int64_t> shape, DType type, float mean, float deviation) {
    std::normal_distribution<float> normal(mean, deviation);
    size_t n = 1;
    for (int64_t d : shape) n *= static_cast<size_t>(d);
    std::vector<float> values(n);
    for (float& v : values) v = normal(random);
    add(name, std::move(shape), type, values);
  }
  // Of a type that has no encoder: any blocks, with scales that keep weights about as small as the others.
  void random_blocks(DType type, std::vector<uint8_t>& bytes) {
    for (uint8_t& b : bytes) b = static_cast<uint8_t>(random());
    const BlockCodec& codec = *block_codec(type);
    const uint16_t scale = float_to_half(0x1p-11F);
    std::array<uint8_t, kMaxRecord> record;
    std::array<uint8_t, kMaxBlock> codes;
    for (size_t at = 0; at < bytes.size(); at += info(type).block_bytes) {
      codec.split(&bytes[at], record.data(), codes.data());
      std::memcpy(record.data(), &scale, sizeof scale);
      codec.join(record.data(), codes.data(), &bytes[at]);
    }
  }
  void add(const std::string& name, std::vector<int64_t> shape, DType type,
           const std::vector<float>& values) {
    const auto bytes = std::make_shared<std::vector<uint8_t>>(row_bytes(type, values.size()));
    if (info(type).encode != nullptr)
      info(type).encode(values.data(), bytes->data(), values.size());
    else
      random_blocks(type, *bytes);
    Tensor t;
    t.name = name;
    t.type = type;
    t.shape = std::move(shape);
    t.data = *bytes;
    c.storage.push_back(bytes);
    c.tensors.push_back(std::move(t));
  }
  void matrix(const std::string& name, uint32_t rows, uint32_t cols) {
    tensor(name, {rows, cols}, m.type(name), 0, 1.0F / std::sqrt(static_cast<float>(cols)));
  }
  void vector(const std::string& name, uint32_t n, float mean) { tensor(name, {n}, DType::f32, mean, 0.2F); }

  void vocabulary() {
    std::vector<std::string> tokens = {"<unk>", "<s>", "</s>"};
    std::vector<int64_t> types = {2, 3, 3};
    for (uint32_t i = 0; tokens.size() < m.n_vocab; ++i) {
      tokens.push_back(i < 256 ? fmt::format("<0x{:02X}>", i) : fmt::format("w{}", i));
      types.push_back(i < 256 ? 6 : 1);
    }
    tokens.resize(m.n_vocab);
    types.resize(m.n_vocab);
    c.meta.set("tokenizer.ggml.model", {MetaType::string, MetaType::u32, std::string("llama")});
    c.meta.set("tokenizer.ggml.tokens", {MetaType::array, MetaType::string, tokens});
    c.meta.set("tokenizer.ggml.scores",
               {MetaType::array, MetaType::f32, std::vector<double>(m.n_vocab, -1.0)});
    c.meta.set("tokenizer.ggml.token_type", {MetaType::array, MetaType::i32, types});
    c.meta.set("tokenizer.ggml.bos_token_id", {MetaType::u32, MetaType::u32, int64_t{1}});
    c.meta.set("tokenizer.ggml.eos_token_id", {MetaType::u32, MetaType::u32, int64_t{2}});
  }

  Checkpoint build() {
    random.seed(m.seed);
    c.path = "tiny.gguf";
    c.meta.set("general.architecture", {MetaType::string, MetaType::u32, m.architecture});
    integer("block_count", m.n_layers);
    integer("context_length", m.ctx);
    integer("embedding_length", m.n_hidden);
    integer("feed_forward_length", m.n_ff);
    integer("attention.head_count", m.n_heads);
    integer("attention.head_count_kv", m.n_kv_heads);
    integer("attention.key_length", m.head_dim);
    integer("attention.value_length", m.head_dim);
    integer("rope.dimension_count", m.head_dim);
    number("attention.layer_norm_rms_epsilon", 1e-5);
    number("rope.freq_base", 10000);
    vocabulary();

    const uint32_t q = m.n_heads * m.head_dim, kv = m.n_kv_heads * m.head_dim;
    matrix("token_embd.weight", m.n_vocab, m.n_hidden);
    if (m.rope_factors) {
      std::vector<float> factors(m.head_dim / 2);
      for (size_t i = 0; i < factors.size(); ++i) factors[i] = 1.0F + static_cast<float>(i % 4);
      add("rope_freqs.weight", {static_cast<int64_t>(factors.size())}, DType::f32, factors);
    }
    for (uint32_t l = 0; l < m.n_layers; ++l) {
      const std::string p = fmt::format("blk.{}.", l);
      vector(p + "attn_norm.weight", m.n_hidden, 1);
      matrix(p + "attn_q.weight", q, m.n_hidden);
      matrix(p + "attn_k.weight", kv, m.n_hidden);
      matrix(p + "attn_v.weight", kv, m.n_hidden);
      if (m.qkv_bias) {
        vector(p + "attn_q.bias", q, 0);
        vector(p + "attn_k.bias", kv, 0);
        vector(p + "attn_v.bias", kv, 0);
      }
      matrix(p + "attn_output.weight", m.n_hidden, q);
      vector(p + "ffn_norm.weight", m.n_hidden, 1);
      matrix(p + "ffn_gate.weight", m.n_ff, m.n_hidden);
      matrix(p + "ffn_up.weight", m.n_ff, m.n_hidden);
      matrix(p + "ffn_down.weight", m.n_hidden, m.n_ff);
    }
    vector("output_norm.weight", m.n_hidden, 1);
    if (!m.tied) matrix("output.weight", m.n_vocab, m.n_hidden);
    return std::move(c);
  }
};

}  // namespace

TinyModel small_model() {
  TinyModel m;
  m.n_hidden = 64;
  m.n_heads = 4;
  m.n_kv_heads = 2;
  m.head_dim = 16;
  m.n_ff = 96;
  return m;
}

TinyModel odd_model() {
  TinyModel m;
  m.n_layers = 1;
  m.n_hidden = 40;
  m.n_heads = m.n_kv_heads = 1;
  m.head_dim = 40;
  m.n_ff = 52;
  m.n_vocab = 261;
  m.type = [](const std::string&) { return DType::f32; };
  return m;
}

TinyModel every_type_model() {
  TinyModel tiny;
  tiny.n_layers = 4;
  tiny.type = [](const std::string& name) {
    static constexpr DType kTypes[] = {
        DType::q8_0,   DType::q4_0,   DType::q4_1,    DType::q5_0,  DType::q5_1,  DType::q4_k,
        DType::q5_k,   DType::q6_k,   DType::f16,     DType::bf16,  DType::f32,   DType::q2_k,
        DType::q3_k,   DType::iq4_nl, DType::iq4_xs,  DType::mxfp4, DType::nvfp4, DType::tq1_0,
        DType::tq2_0,  DType::q1_0,   DType::q2_0,    DType::iq1_s, DType::iq1_m, DType::iq2_xxs,
        DType::iq2_xs, DType::iq2_s,  DType::iq3_xxs, DType::iq3_s};
    static constexpr std::string_view kMatrices[] = {"attn_q",   "attn_k", "attn_v",  "attn_output",
                                                     "ffn_gate", "ffn_up", "ffn_down"};
    for (size_t i = 0; i < std::size(kMatrices); ++i)
      if (name.find(kMatrices[i]) != std::string::npos)
        return kTypes[static_cast<size_t>(name[4] - '0') * std::size(kMatrices) + i];
    return DType::q6_k;
  };
  return tiny;
}

Checkpoint make_checkpoint(const TinyModel& model) { return Builder{model}.build(); }

}  // namespace forge::test
