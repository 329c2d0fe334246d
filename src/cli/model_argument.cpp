#include "cli/commands.h"
#include "quantize/recipe.h"

namespace forge {

CLI::Validator not_empty() {
  return {[](const std::string& text) { return text.empty() ? "expected a value, this one is empty" : ""; },
          ""};
}

void add_model(CLI::App& command, ModelSource& model, const std::string& argument) {
  command
      .add_option(
          argument, model.path,
          "a GGUF file (the first one, if split), a Hugging Face directory, a compiled program, or what is "
          "downloaded into the Hugging Face cache: hf:ORG/NAME[:TYPE or FILE], or a URL")
      ->required()
      ->check(not_empty());
  command.add_flag("--offline", model.offline, "download nothing: take the model from the cache");
  command
      .add_option(
          "--lora", model.adapters,
          "PATH[:SCALE]: an adapter to merge into the model, a PEFT directory or a GGUF file; repeatable")
      ->allow_extra_args(false);
  command
      .add_option("--override", model.overrides,
                  "KEY=VALUE: the value of a metadata key in place of the file's; repeatable")
      ->allow_extra_args(false);
}

void add_quantization(CLI::App& command, Quantization& quantization, const std::string& type) {
  command.add_option(type, quantization.type, "the type of the weights: " + recipe_names())
      ->check(not_empty());
  command
      .add_option("--fit", quantization.fit,
                  "SIZE, as 600MB: instead of a type, those of the least estimated damage that fit")
      ->check(not_empty());
  command
      .add_option("--tensor-type", quantization.tensor_types,
                  "PATTERN=TYPE: the type of the matrices whose names match, as attn_v=q8_0 or "
                  "'blk.[01].*=f16'; repeatable, the first match decides")
      ->allow_extra_args(false);
  command
      .add_option("--imatrix", quantization.imatrix,
                  "llama.cpp's importance matrix: err less where activations are large")
      ->check(not_empty());
  command
      .add_option("--calibration-file", quantization.calibration_file,
                  "a text to run the model over, for the same without such a file")
      ->check(not_empty());
}

void add_context(CLI::App& command, uint32_t& ctx, const std::string& help) {
  command.add_option("--ctx", ctx, help)->envname("FORGE_CTX")->check(CLI::Range(1U, 1U << 20));
}

void add_kv(CLI::App& command, std::string& kv) {
  command
      .add_option("--kv", kv,
                  "the KV cache: f16, or q8_0: about half the memory, for what docs/quantization.md says")
      ->check(CLI::IsMember({"f16", "q8_0"}))
      ->envname("FORGE_KV")
      ->capture_default_str();
}

}  // namespace forge
