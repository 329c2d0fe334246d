// The commands of forge. Each add_… registers its options, help and example; the callback does the work and
// throws Error (or ends the process, when it runs the compiled program).
#pragma once

#include <CLI/App.hpp>
#include <CLI/Validators.hpp>
#include <string>

#include "cli/model_source.h"

namespace forge {

void add_compile(CLI::App& forge);
// generate, chat, bench, perplexity, logits, tokenize, detokenize.
void add_program_commands(CLI::App& forge);
void add_quantize(CLI::App& forge);
void add_info(CLI::App& forge);
void add_dump(CLI::App& forge);
void add_cache(CLI::App& forge);
void add_compare(CLI::App& forge);
void add_models(CLI::App& forge);
void add_export_weights(CLI::App& forge);

// The argument that names the model ("MODEL"), and the options that change it.
void add_model(CLI::App& command, ModelSource& model, const std::string& argument = "MODEL");

// The options that quantize the model, `type` ("--quantize") naming the mixture.
void add_quantization(CLI::App& command, Quantization& quantization, const std::string& type = "--quantize");

// --ctx, tokens of context.
void add_context(CLI::App& command, uint32_t& ctx, const std::string& help);

// A check of an option's value: "" is a mistake (an unset variable in a script), not the default.
CLI::Validator not_empty();

// --kv, what the KV cache holds.
void add_kv(CLI::App& command, std::string& kv);

// The version forge was built as: "0.1.0".
std::string forge_version();

}  // namespace forge
