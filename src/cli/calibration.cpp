#include "cli/calibration.h"

#include <filesystem>

#include "codegen/compile.h"
#include "core/error.h"
#include "models/architecture.h"
#include "quantize/quantize.h"
#include "runtime/host/team.h"
#include "toolchain/compiler.h"
#include "toolchain/process.h"

namespace forge {
namespace {

constexpr uint32_t kContext = 512, kChunks = 64;

// The model with its block types widened to float16: a linear of a block type takes quantized activations, which are
// not traced.
Checkpoint widened(const Checkpoint& model) {
  std::vector<DType> types;
  types.reserve(model.tensors.size());
  for (const Tensor& tensor : model.tensors)
    types.push_back(info(tensor.type).block_weights > 1 ? DType::f16 : tensor.type);
  QuantizeReport report;
  return quantize(model, types, {.n_threads = rt::cpu_budget().n_workers()}, report);
}

// Gives each matrix of a linear the squares of the linear's input.
void assign(const Graph& graph, const std::vector<Node>& nodes, const Importances& values, Importances& out) {
  for (const Node& node : nodes) {
    if (node.op != Op::linear) continue;
    const Value& input = graph.values[node.inputs[0]];
    for (const Segment& segment : node.segments) {
      const Weight& weight = graph.weights[segment.weight];
      for (uint32_t layer = 0; layer < weight.types.size(); ++layer) {
        const std::string entry =
            fmt::format("{}.{}", weight.per_layer ? std::to_string(layer) : "-", input.name);
        const auto squares = values.find(entry, input.cols);
        if (squares.empty()) fail("calibration: nothing is known of {}, the input of {}", entry, weight.name);
        out.of_tensor[weight.tensor_name(layer)].assign(squares.begin(), squares.end());
      }
    }
  }
}

}  // namespace

Importances calibrate(const Checkpoint& model, const std::string& text_file) {
  const std::string text = std::filesystem::absolute(text_file);
  if (!std::filesystem::is_regular_file(text))
    fail("--calibration-file {}: {}, expected a file with text", text_file,
         std::filesystem::exists(text) ? "is no regular file" : "there is no such file");
  const Compiler compiler = find_compiler();
  const ForgeFiles files = find_forge_files();
  const Checkpoint floats = widened(model);
  CompileOptions options;
  options.target = cpu_target("native");
  options.ctx = std::min(kContext, build_graph(floats, 0).ctx_max);
  options.has_chat_template = true;  // none
  options.compiler = compiler.version;
  const CompiledModel compiled = compile_model(floats, options, nullptr);
  const LinkedProgram program =
      build_program(compiler, files, compiled.sources, options.target, Cache::standard(), nullptr);

  const ScratchDirectory directory;
  const std::string path = directory.path() + "/program", squares = directory.path() + "/squares";
  write_executable(path, program.bytes, compiled.payload, nullptr);
  const ProcessResult run = run_process({path, "activations", text, "-o", squares, "--ctx",
                                         std::to_string(options.ctx), "--chunks", std::to_string(kChunks)},
                                        directory.path());
  if (run.status != 0) fail("--calibration-file: {}", complaint(run));
  const Importances values = read_imatrix(squares);
  Importances out;
  out.origin = "calibration with " + text_file;
  assign(compiled.optimized, compiled.optimized.body, values, out);
  assign(compiled.optimized, compiled.optimized.epilogue, values, out);
  return out;
}

}  // namespace forge
