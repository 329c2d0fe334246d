// config.json: look-ups that check what they find, and the way to GGUF's keys.
#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "formats/checkpoint.h"
#include "formats/json.h"

namespace forge::huggingface {

// An object of a JSON file. A key that is null counts as absent; several keys are spellings of one, of which the
// first that is there is taken. Throws Error naming the file and the key when the value is of another kind.
class Config {
 public:
  using Keys = std::initializer_list<const char*>;

  Config(std::string path, Json object);
  const std::string& path() const { return path_; }
  const Json& json() const { return object_; }

  const Json* find(Keys keys) const;
  std::optional<int64_t> integer(Keys keys) const;  // within 2^53
  std::optional<double> number(Keys keys) const;    // within float32
  std::optional<bool> boolean(Keys keys) const;
  std::optional<std::string> string(Keys keys) const;
  std::optional<std::vector<int64_t>> integers(Keys keys) const;
  std::optional<std::vector<double>> numbers(Keys keys) const;
  // The object under a key, empty where there is none.
  Config object(Keys keys) const;

  // The integer, which must be there and lie in 1 to 2^24: far above the models this compiler is for.
  int64_t dimension(Keys keys) const;
  // Refuses the model: "PATH: KEY is VALUE, expected …".
  [[noreturn]] void refuse(const char* key, std::string_view expected) const;
  void set(const char* key, Json value) { object_[key] = std::move(value); }

 private:
  [[noreturn]] void fail_kind(const char* key, std::string_view expected) const;

  std::string path_;
  Json object_;
};

// What the architectures' configurations share, in one spelling.
struct ModelConfig {
  Config config;       // the text model's part joined with the whole
  Config rope;         // rope_theta, rope_type, factor, …: of all layers, or of those with full attention
  Config rope_window;  // the same of layers with a window, where they have their own
  int64_t n_layers = 0, n_hidden = 0, n_heads = 0, n_kv_heads = 0, head_dim = 0, context = 0;
};
ModelConfig model_config(Config config);

// Refuses a model whose layer_types, where it names them, are not "full_attention" in every period-th layer and
// "sliding_attention" in the others; period 1: full attention everywhere.
void check_layer_types(const ModelConfig& model, int64_t period);

// Writes metadata keys under an architecture's prefix.
class KeyWriter {
 public:
  KeyWriter(Metadata& meta, std::string_view architecture) : meta_(meta), prefix_(architecture) {}
  void u32(std::string_view key, int64_t value);
  void f32(std::string_view key, double value);
  void boolean(std::string_view key, bool value);
  void string(std::string_view key, std::string value);

 private:
  void set(std::string_view key, MetaValue value);
  Metadata& meta_;
  std::string prefix_;
};

// The keys that every architecture has, and those of linear and YaRN rope scaling.
void write_common_keys(const ModelConfig& model, KeyWriter& keys);

// The divisors of rotation frequencies that Llama 3's scaling means, one for each pair of rotated dimensions.
std::vector<float> llama3_rope_factors(const ModelConfig& model);

}  // namespace forge::huggingface
