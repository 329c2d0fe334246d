#include "codegen/cpu/emit.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <span>

#include "core/error.h"
#include "runtime/core/step.h"

namespace forge {
namespace {

uint32_t pad16(uint32_t n) { return (n + 15) / 16 * 16; }

// The kernel headers' name of a storage type: its own in capitals.
std::string kernel_type(DType t) {
  std::string name(info(t).name);
  for (char& c : name) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  return name;
}

constexpr std::string_view kIfLogits = "if (w.args.logits != nullptr) ";
// The code of the highest level, which the runtime knows; those below it are numbered.
constexpr std::string_view kFirstSymbol = "forge_model_code";
std::string code_symbol(size_t i) {
  return i == 0 ? std::string(kFirstSymbol) : fmt::format("{}_{}", kFirstSymbol, i);
}

struct Emitter {
  const Graph& g;
  const Plan& plan;
  const CpuLevel& level;
  std::string symbol, next;  // of this ModelCode and of the next lower one ("": none)
  uint64_t hash;
  const Schedules& schedules;
  std::string out = {};
  std::vector<std::string> stage_table = {};  // a row for each measured call, in the order of emission

  template <class... Args>
  void put(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(out), format, std::forward<Args>(args)...);
  }

  // --- one stage
  // -------------------------------------------------------------------------------------------------

  struct Place {  // where stages are being emitted: the body of a signature, or outside (layer < 0)
    const Phase& phase;
    int signature = -1;
    uint32_t example_layer = 0;
    std::string_view layer = "-1";
    bool wanted_at_last = false;  // in the last layer the rows are those whose output is wanted
  };

  const Buffer& buffer(const Place& p, ValueId v) const { return p.phase.buffers[p.phase.value_buffer[v]]; }
  std::string name(const Place& p, ValueId v) const { return fmt::format("b.{}", buffer(p, v).name); }
  uint32_t stride(ValueId v) const { return pad16(g.values[v].cols); }

  std::string weight(const Place& p, WeightId id) const {
    if (!g.weights[id].per_layer) return fmt::format("w.args.weights + {}", plan.placed(id, 0).offset);
    return fmt::format("layer_weights + {}", plan.offset_in_layer(static_cast<uint32_t>(p.signature), id));
  }
  std::string type(const Place& p, WeightId id) const {
    return kernel_type(g.weights[id].type(p.example_layer));
  }

  static std::string rows(const Stage& s) {
    const std::string_view n = s.rows == RowSet::wanted ? "w.args.n_out_rows" : "w.args.n_rows";
    return s.division == Division::shares ? "shares.mine()"
           : s.division == Division::rows ? fmt::format("split(w, {})", n)
                                          : fmt::format("everything({})", n);
  }

  // Where the layer's rotation begins in the rows of the table.
  std::string rope_table(const Place& p) const {
    const uint32_t rope = plan.layers[p.example_layer].rope;
    return rope == kNoRope ? "nullptr" : fmt::format("b.rope_table + {}", plan.ropes[rope].offset);
  }

  void comment(const Stage& s, std::string_view indent) {
    out += indent;
    out += "// ";
    if (s.kernel == Kernel::rope_angles) out += "rope_table";
    if (s.kernel == Kernel::output_hidden) out += "output hidden";
    if (s.kernel == Kernel::attention_scores) out += "scores of ";
    for (size_t i = 0; i < s.node.outputs.size(); ++i)
      put("{}{}", i ? ", " : "", g.values[s.node.outputs[i]].name);
    if (!s.node.outputs.empty()) {
      put(" = {}(", op_name(s.node.op));
      for (size_t i = 0; i < s.node.inputs.size(); ++i)
        put("{}{}", i ? ", " : "", g.values[s.node.inputs[i]].name);
      out += ")";
      for (size_t i = 0; i < s.node.segments.size(); ++i)
        put("{} {}", i ? "," : "", g.weights[s.node.segments[i].weight].name);
    }
    put(", by {}\n", division_name(s.division));
  }

  // What a call must read and compute, as rt::StageInfo says.
  struct Cost {
    std::vector<WeightId> matrices = {};
    uint64_t weight_bytes = 0, weight_bytes_per_row = 0, kv_bytes_per_position = 0, operations_per_row = 0,
             operations_per_position = 0;
    int64_t window = 0;
  };

  uint64_t weight_bytes(const Place& p, WeightId id) const {
    return id == kNoWeight ? 0 : plan.placed(id, g.weights[id].per_layer ? p.example_layer : 0).bytes;
  }

  Cost linear_cost(const Place& p, std::span<const Segment> segments) const {
    Cost cost;
    for (const Segment& s : segments) {
      const Weight& w = g.weights[s.weight];
      cost.matrices.push_back(s.weight);
      cost.weight_bytes += weight_bytes(p, s.weight) + weight_bytes(p, s.bias);
      cost.operations_per_row += uint64_t{2} * w.rows * w.cols;
    }
    return cost;
  }

  // Of the kernels that are one call; a linear has one for each segment.
  Cost cost_of(const Stage& s, const Place& p) const {
    const Node& n = s.node;
    Cost cost;
    if (s.kernel == Kernel::embed) {
      const WeightId table = n.segments[0].weight;
      cost.matrices = {table};
      cost.weight_bytes_per_row = row_bytes(g.weights[table].type(p.example_layer), g.weights[table].cols);
    } else if (s.kernel == Kernel::norm || s.kernel == Kernel::head_norm) {
      cost.weight_bytes = weight_bytes(p, n.segments[0].weight) + weight_bytes(p, n.segments[0].bias);
    } else if (s.kernel == Kernel::attention || s.kernel == Kernel::attention_scores) {
      cost.kv_bytes_per_position = plan.kv_layer_bytes / rt::kPagePositions;
      cost.operations_per_position = static_cast<uint64_t>(4 * n.integer("n_heads") * n.integer("head_dim"));
      cost.window = n.has("window") ? n.integer("window", p.example_layer) : 0;
    }
    return cost;
  }

  // Operations of a layer.
  Cost layer_cost(const Place& p) const {
    Cost sum;
    for (const Stage& s : p.phase.body) {
      if (s.kernel == Kernel::linear)
        sum.operations_per_row += linear_cost(p, s.node.segments).operations_per_row;
      sum.operations_per_position += cost_of(s, p).operations_per_position;
    }
    return sum;
  }

  // Ends the call that was emitted last, for who measures; `condition` is the call's own.
  void mark(const Stage& s, const Place& p, std::string_view indent, std::string_view output,
            const Cost& cost, std::string_view condition = "", std::string_view kernel = "") {
    std::string weights, types;
    for (const WeightId id : cost.matrices) {
      const std::string_view type = info(g.weights[id].type(p.example_layer)).name;
      weights += fmt::format("{}{}", weights.empty() ? "" : ", ", g.weights[id].name);
      if (types != type) types += fmt::format("{}{}", types.empty() ? "" : ", ", type);
    }
    const bool head = s.kernel == Kernel::linear && s.node.outputs[0] == g.logits;
    put("{}{}w.mark({}{});\n", indent, condition, stage_table.size(),
        p.signature < 0 ? "" : fmt::format(", {}", p.layer));
    stage_table.push_back(fmt::format(R"({{"{}", "{}", "{}", "{}", {}, {}, {}, {}, {}, {}, {}}})",
                                      head             ? "head"
                                      : kernel.empty() ? kernel_name(s.kernel)
                                                       : kernel,
                                      output, weights, types, cost.weight_bytes, cost.weight_bytes_per_row,
                                      cost.kv_bytes_per_position, cost.operations_per_row,
                                      cost.operations_per_position, cost.window,
                                      s.rows == RowSet::wanted ? "-1"
                                      : p.wanted_at_last       ? "kLayers - 1"
                                                               : "forge::rt::kAllRows"));
  }

  std::string output_name(const Stage& s) const {
    return std::string(s.node.outputs.empty() ? kernel_name(s.kernel) : g.values[s.node.outputs[0]].name);
  }

  // The beginning of a linear's call, `function` and its groups: what is dealt is called in a loop.
  void call_linear(const Stage& s, size_t call, std::string_view indent, std::string_view condition,
                   std::string_view function, uint32_t n_groups) {
    if (s.division == Division::dealt_groups)
      put("{}{}for (Range groups = {{}}; deal(w, {}, {}, groups);)\n{}  {}(groups", indent, condition,
          s.first_deal + call, n_groups, indent, function);
    else
      put("{}{}{}({}{})", indent, condition, function,
          s.division == Division::shares ? "everything(" : "split(w, ", n_groups);
  }

  void linear(const Stage& s, const Place& p, std::string_view indent) {
    const Node& n = s.node;
    const uint32_t k = g.weights[n.segments[0].weight].cols;
    const size_t n_activations = n.inputs.size() - (n.epilogue == Epilogue::add ? 1 : 0);
    std::string q8 = "nullptr", f32 = "nullptr", bf16;
    uint32_t f32_stride = 0;
    for (size_t i = 0; i < n_activations; ++i) {
      const ValueId v = n.inputs[i];
      switch (g.values[v].element) {
        case ElementType::q8: q8 = name(p, v); break;
        case ElementType::bf16: bf16 = name(p, v); break;
        default: f32 = name(p, v); f32_stride = stride(v);
      }
    }
    const std::string activation =
        bf16.empty() ? fmt::format("Activation<{}>{{{}, {}, {}}}", k, q8, f32, f32_stride)
                     : fmt::format("Activation<{}, true{}>{{{}, {}, {}, {}, w.args.row_class}}", k,
                                   p.phase.shares_rows ? ", RowsOf::prompts" : "", q8, f32, f32_stride, bf16);
    const std::string n_rows = rows(s);
    const auto to = [&](ValueId v) {
      if (v == g.logits) return fmt::format("Output{{w.args.logits, {}}}", plan.logits_stride);
      return fmt::format("Output{{{}, {}}}", name(p, v), stride(v));
    };
    if (is_gated(n.epilogue)) {
      const std::string prompts = n.outputs.size() == 1
                                      ? ""
                                      : fmt::format(", PromptOutput<{}>{{{}, w.args.trace != nullptr}}",
                                                    g.values[n.outputs[1]].cols, name(p, n.outputs[1]));
      call_linear(s, 0, indent, "",
                  fmt::format("linear_gated<{}, {}, {}>", type(p, n.segments[0].weight),
                              type(p, n.segments[1].weight), k),
                  stride(n.outputs[0]) / 16);
      put(", {}, {}, {}, {},\n{}      {}, {}{{}}{});\n", n_rows, weight(p, n.segments[0].weight),
          weight(p, n.segments[1].weight), activation, indent, to(n.outputs[0]),
          n.epilogue == Epilogue::silu_mul ? "Silu" : "Gelu", prompts);
      mark(s, p, indent, output_name(s), linear_cost(p, n.segments));
      return;
    }
    const std::string map = linear_map(n);
    for (size_t i = 0; i < n.segments.size(); ++i) {
      const Segment& segment = n.segments[i];
      const bool has_bias = segment.bias != kNoWeight;
      const std::string_view condition = n.outputs[i] == g.logits ? kIfLogits : "";
      call_linear(s, i, indent, condition,
                  fmt::format("linear<{}, {}{}>", type(p, segment.weight), k,
                              has_bias ? fmt::format(", {}", type(p, segment.bias)) : ""),
                  pad16(g.weights[segment.weight].rows) / 16);
      put(", {}, {}, {},\n{}      {}, {}, {}{});\n", n_rows, weight(p, segment.weight), activation, indent,
          to(n.outputs[i]), has_bias ? weight(p, segment.bias) : "nullptr",
          n.epilogue == Epilogue::add ? name(p, n.inputs.back()) : "nullptr", map);
      mark(s, p, indent, g.values[n.outputs[i]].name, linear_cost(p, {&segment, 1}), condition);
    }
  }

  // What a linear does with its sums: the last argument, empty where nothing.
  static std::string linear_map(const Node& n) {
    std::string x = "x";
    if (n.has("scale")) x = fmt::format("x * {}F", real(n.number("scale")));
    if (n.has("softcap")) x = fmt::format("softcap({}, {}F)", x, real(n.number("softcap")));
    if (n.epilogue == Epilogue::gelu) x = fmt::format("gelu({})", x);
    return x == "x" ? "" : fmt::format(", [](f32x16 x) {{ return {}; }}", x);
  }

  // Where row r of a node's output goes in each of its forms: arguments of put_forms.
  std::string row_forms(const Place& p, const Node& n) const {
    std::string y = "nullptr", q = "nullptr", bf16;
    for (ValueId v : n.outputs) {
      switch (g.values[v].element) {
        case ElementType::q8: q = name(p, v); break;
        case ElementType::bf16: bf16 = name(p, v); break;
        default: y = fmt::format("{} + r * {}", name(p, v), stride(v));
      }
    }
    if (n.has("rows")) return fmt::format("{}, generated_row(w, {}, r)", y, q);
    if (!bf16.empty())
      return fmt::format("{}, {}, prompt_row(w, {}, r)", y,
                         q == "nullptr" ? q : fmt::format("generated_row(w, {}, r)", q), bf16);
    return fmt::format("{}, {}{}", y, q, q == "nullptr" ? "" : " + r");
  }

  void norm(const Stage& s, const Place& p, std::string_view indent) {
    const Node& n = s.node;
    const uint32_t cols = g.values[n.inputs[0]].cols;
    const auto [gain, bias] = n.segments[0];
    const std::string forms = row_forms(p, n);
    put("{}for (uint64_t r = rows.begin; r < rows.end; ++r)\n{}  ", indent, indent);
    const std::string x = fmt::format("{} + r * {}", name(p, n.inputs[0]), stride(n.inputs[0]));
    if (n.op == Op::rms_norm)
      put("rms_norm_row<{}, {}>({}, {}, {}F, {});\n", cols, type(p, gain), x, weight(p, gain),
          real(n.number("eps")), forms);
    else
      put("layer_norm_row<{}, {}{}>({}, {}, {}, {}F, {});\n", cols, type(p, gain),
          bias == kNoWeight ? "" : fmt::format(", {}", type(p, bias)), x, weight(p, gain),
          bias == kNoWeight ? "nullptr" : weight(p, bias), real(n.number("eps")), forms);
  }

  void head_norm(const Stage& s, const Place& p, std::string_view indent) {
    const Node& n = s.node;
    const auto heads = static_cast<uint32_t>(n.integer("n_heads"));
    const WeightId gain = n.segments[0].weight;
    put("{}for (uint64_t r = rows.begin; r < rows.end; ++r)\n"
        "{}  head_norm_row<{}, {}>({} + r * {}, {}, {}, {}F, {} + r * {});\n",
        indent, indent, g.values[n.inputs[0]].cols / heads, type(p, gain), name(p, n.inputs[0]),
        stride(n.inputs[0]),
        s.division == Division::heads ? fmt::format("split_heads<AttentionShape>(w, {})", heads)
                                      : fmt::format("everything({})", heads),
        weight(p, gain), real(n.number("eps")), name(p, n.outputs[0]), stride(n.outputs[0]));
  }

  // An elementwise operation of x (and y).
  static std::string elementwise(const Node& n) {
    switch (n.op) {
      case Op::silu: return "silu(x)";
      case Op::gelu: return "gelu(x)";
      case Op::scale: return fmt::format("x * {}F", real(n.number("by")));
      case Op::softcap: return fmt::format("softcap(x, {}F)", real(n.number("cap")));
      case Op::mul: return "x * y";
      case Op::add: return "x + y";
      default: fail("no CPU kernel computes {} elementwise", op_name(n.op));
    }
  }

  static std::string real(double v) {
    std::string text = fmt::format("{}", static_cast<float>(v));
    if (text.find_first_of(".e") == std::string::npos) text += ".0";
    return text;
  }

  void stage(const Stage& s, const Place& p, std::string_view indent) {
    if (s.barrier)
      put("{}{};\n", indent, p.phase.shares_rows && p.signature >= 0 ? "shares.meet()" : "w.barrier()");
    if (s.deep_barrier) put("{}if (b.deep) w.barrier();\n", indent);
    comment(s, indent);
    const Node& n = s.node;
    if (has_row_loop(s)) put("{}rows = {};\n", indent, rows(s));
    switch (s.kernel) {
      case Kernel::rope_angles:
        for (size_t i = 0; i < plan.ropes.size(); ++i)
          put("{}rope_angles(w, {}, kRope{}, {}, {}F, b.rope_table + {}, kRopeRow);\n", indent, rows(s), i,
              plan.ropes[i].frequencies.size(), real(static_cast<double>(plan.ropes[i].magnitude)),
              plan.ropes[i].offset);
        break;
      case Kernel::embed:
        put("{}embed<{}, {}>({}, w.args.{}, {}, {}F, {});\n", indent, type(p, n.segments[0].weight),
            g.n_hidden, rows(s), n.has("of") ? "positions" : "tokens", weight(p, n.segments[0].weight),
            real(n.has("scale") ? n.number("scale") : 1.0), name(p, n.outputs[0]));
        break;
      case Kernel::norm: norm(s, p, indent); break;
      case Kernel::head_norm: head_norm(s, p, indent); break;
      case Kernel::quantize:
        put("{}for (uint64_t r = rows.begin; r < rows.end; ++r)\n{}  put_row<{}>({} + r * {}, {});\n", indent,
            indent, g.values[n.inputs[0]].cols, name(p, n.inputs[0]), stride(n.inputs[0]), row_forms(p, n));
        break;
      case Kernel::linear: linear(s, p, indent); break;
      case Kernel::elementwise:
        put("{}elementwise<{}>({}, {}, {}, {}, [](f32x16 x, f32x16{}) {{ return {}; }});\n", indent,
            g.values[n.outputs[0]].cols, rows(s), name(p, n.inputs[0]), name(p, n.inputs.back()),
            name(p, n.outputs[0]), n.inputs.size() == 2 ? " y" : "", elementwise(n));
        break;
      case Kernel::rope_kv:
        put("{}rope_kv{}<AttentionShape, {}>(w, {}kPageBytes, layer * kLayerKvBytes, {}, kRopeRow, {}, {}, "
            "{}, "
            "{}, {}, {});\n",
            indent, s.division == Division::row_tiles ? "_tiles" : "", n.integer("n_rot", p.example_layer),
            s.division == Division::row_tiles
                ? ""
                : fmt::format("{}, {}, ", rows(s),
                              s.division == Division::heads ? "split(w, AttentionShape::n_kv_heads)"
                                                            : "everything(AttentionShape::n_kv_heads)"),
            rope_table(p), name(p, n.inputs[0]), name(p, n.inputs[1]), name(p, n.inputs[2]),
            stride(n.inputs[0]), stride(n.inputs[1]), name(p, n.outputs[0]));
        break;
      case Kernel::attention_scores:
      case Kernel::attention: {
        std::string scoring = fmt::format(".scale = {}F", real(n.number("scale")));
        if (n.has("softcap")) scoring += fmt::format(", .softcap = {}F", real(n.number("softcap")));
        if (n.has("window")) scoring += fmt::format(", .window = {}", n.integer("window", p.example_layer));
        const std::string tail =
            fmt::format("kPageBytes, layer * kLayerKvBytes, Scoring{{{}}}, {}, {}, {}", scoring,
                        name(p, n.inputs[0]), name(p, n.outputs[0]), stride(n.outputs[0]));
        // Of a deep step's two halves, each reads one of keys and values.
        Cost half = cost_of(s, p);
        half.kv_bytes_per_position /= 2;
        half.operations_per_position /= 2;
        if (s.kernel == Kernel::attention_scores) {
          put("{}if (b.deep) attention_scores<AttentionShape, kCtx>(w, {}, b.head_scores);\n", indent, tail);
          mark(s, p, indent, output_name(s), half, "if (b.deep) ");
        } else if (s.division == Division::heads_or_dims) {
          put("{}if (b.deep) attention_values<AttentionShape, kCtx>(w, {}, b.head_scores, b.scores);\n",
              indent, tail);
          mark(s, p, indent, output_name(s), half, "if (b.deep) ", "attention_values");
          put("{}if (!b.deep)\n{}  attention_heads<AttentionShape, kCtx>(w, split(w, "
              "AttentionShape::n_kv_heads), "
              "{}, b.scores);\n",
              indent, indent, tail);
          mark(s, p, indent, output_name(s), cost_of(s, p), "if (!b.deep) ");
        } else if (s.division == Division::shares) {
          put("{}attention_of_rows<AttentionShape>(w, {}, {});\n", indent, rows(s), tail);
          mark(s, p, indent, output_name(s), cost_of(s, p));
        } else {
          put("{}attention_blocks<AttentionShape, kCtx>(w, {}, {}, b.scores);\n", indent, s.first_deal, tail);
          mark(s, p, indent, output_name(s), cost_of(s, p));
        }
        break;
      }
      case Kernel::select_rows:
        put("{}select_rows<{}>(w, {}, {}, {});\n", indent, g.values[n.outputs[0]].cols, rows(s),
            name(p, n.inputs[0]), name(p, n.outputs[0]));
        break;
      case Kernel::output_hidden:
        put("{}output_hidden<{}>(w, {}, b.{});\n", indent, g.n_hidden, rows(s), buffer(p, g.hidden).name);
        break;
    }
    if (s.kernel != Kernel::linear && s.kernel != Kernel::attention && s.kernel != Kernel::attention_scores)
      mark(s, p, indent, output_name(s), cost_of(s, p));
    for (ValueId v : n.outputs) {
      if (s.kernel == Kernel::attention_scores) break;  // not yet
      if (g.values[v].element != ElementType::f32) continue;
      const std::string_view n_rows = s.rows == RowSet::wanted ? "w.args.n_out_rows" : "w.args.n_rows";
      const bool logits = v == g.logits;
      put("{}{}w.trace(\"{}\", {}, {}, {}, {}, {});\n", indent, logits ? kIfLogits : "", g.values[v].name,
          p.layer, logits ? "w.args.logits" : name(p, v), n_rows, g.values[v].cols,
          logits ? plan.logits_stride : stride(v));
    }
  }

  // --- the file
  // --------------------------------------------------------------------------------------------------

  static std::string struct_name(const Phase& p) {
    return p.name == "decode" ? "DecodeBuffers" : p.shares_rows ? "PromptBuffers" : "BatchBuffers";
  }

  void buffers(const Phase& p) {
    put("// Memory of the {} phase (up to {} rows).\nstruct {} {{\n", p.name, p.max_rows, struct_name(p));
    const auto type_of = [](const Buffer& b) {
      switch (b.element) {
        case ElementType::q8: return fmt::format("Q8Row<{}>", b.cols);
        case ElementType::bf16: return fmt::format("Bf16Rows<{}>", b.cols);
        default: return std::string("float");
      }
    };
    put("  explicit {}(const Worker& w)\n      : ", struct_name(p));
    for (const Buffer& b : p.buffers) {
      if (b.bytes() == 0) continue;
      if (b.own)
        put("{}(w.own<{}>({}, kScratchBytes)),\n        ", b.name, type_of(b), b.offset);
      else
        put("{}(w.arena<{}>({})),\n        ", b.name, type_of(b), b.offset);
    }
    if (p.scores != kNoBuffer) out += "deep(is_deep<AttentionShape>(w)),\n        ";
    put("scores(w.own<float>({}, kScratchBytes)) {{}}\n", plan.own_bytes);
    for (const Buffer& b : p.buffers)
      if (b.bytes() > 0) put("  {}* const {};\n", type_of(b), b.name);
    if (p.scores != kNoBuffer) out += "  const bool deep;  // attention is divided finer than by heads\n";
    out += "  float* const scores;\n};\n";
    for (const Buffer& b : p.buffers)
      if (b.element == ElementType::q8 || b.element == ElementType::bf16)
        put("static_assert(sizeof({}) == {});\n", type_of(b),
            b.row_bytes * (b.element == ElementType::bf16 ? 16 : 1));
    out += "\n";
  }

  static bool has_row_loop(const Stage& s) {
    return s.kernel == Kernel::norm || s.kernel == Kernel::head_norm || s.kernel == Kernel::quantize;
  }
  static bool has_row_loop(std::span<const Stage> stages) {
    return std::ranges::any_of(stages, [](const Stage& s) { return has_row_loop(s); });
  }

  // A part of a layer: `begins` is the function's name up to the signature's number.
  void layer_function(const Place& place, std::string_view begins, std::span<const Stage> stages) {
    const Phase& p = place.phase;
    put("void {}_{}_{}(const Worker& w, const {}& b, {}const uint8_t* layer_weights, uint32_t layer) {{\n",
        begins, place.signature, p.name, struct_name(p), p.shares_rows ? "RowShares& shares, " : "");
    if (has_row_loop(stages)) out += "  Range rows;\n";
    for (const Stage& s : stages) stage(s, place, "  ");
    out += "}\n\n";
  }

  void layer_functions(const Phase& p, uint32_t signature) {
    Place place{p, static_cast<int>(signature), 0, "(int32_t)layer"};
    while (plan.layers[place.example_layer].signature != signature) ++place.example_layer;
    out += "//";
    for (const auto& [id, offset] : plan.signatures[signature].offsets)
      if (g.weights[id].rows > 1)
        put(" {}: {}", g.weights[id].name, info(g.weights[id].type(place.example_layer)).name);
    out += "\n";
    const std::span<const Stage> body = p.body;
    if (p.wanted_from == 0) {
      layer_function(place, "layer", body);
    } else {
      layer_function(place, "cache", body.first(p.wanted_from));
      place.wanted_at_last = true;
      layer_function(place, "layer", body.subspan(p.wanted_from));
    }
  }

  // The call of a part of a layer, for whatever signature it has.
  void call_layer(const Phase& p, std::string_view begins, std::string_view arguments) {
    if (plan.signatures.size() == 1) {
      put("    {}_0_{}({}, layer_weights, layer);\n", begins, p.name, arguments);
      return;
    }
    out += "    switch (kLayer[layer].signature) {\n";
    for (size_t s = 0; s < plan.signatures.size(); ++s)
      put("      case {}: {}_{}_{}({}, layer_weights, layer); break;\n", s, begins, s, p.name, arguments);
    out += "    }\n";
  }

  void phase_function(const Phase& p) {
    const Place outside{p};
    put("void outputs_{}(const Worker& w, const {}& b) {{\n", p.name, struct_name(p));
    if (has_row_loop(p.epilogue)) out += "  Range rows;\n";
    for (const Stage& s : p.epilogue) stage(s, outside, "  ");
    put("}}\n\nvoid step_{}(const Worker& w) {{\n  const {} b(w);\n", p.name, struct_name(p));
    const bool leaves_rows = p.wanted_from != 0;
    if (leaves_rows) put("  const WantedRows<{}> wanted(w);\n", plan.max_out_rows);
    if (p.shares_rows) {
      const Cost of_row = layer_cost(Place{p, 0});
      put("  static_assert({} <= RowShares::kMaxTiles * kTileRows);\n", p.max_rows);
      put("  constexpr RowWork of_row = {{{}.0F, {}.0F}};\n", of_row.operations_per_row,
          of_row.operations_per_position);
      out += "  RowShares shares(w, of_row), of_wanted(wanted.worker, of_row);\n";
    }
    if (has_row_loop(p.prologue)) out += "  Range rows;\n";
    for (const Stage& s : p.prologue) stage(s, outside, "  ");
    out +=
        "  for (uint32_t layer = 0; layer < kLayers; ++layer) {\n"
        "    const uint8_t* layer_weights = w.args.weights + kLayer[layer].base;\n";
    if (!leaves_rows) {
      call_layer(p, "layer", "w, b");
    } else {
      call_layer(p, "cache", p.shares_rows ? "w, b, shares" : "w, b");
      out +=
          "    const bool leaves_rows = layer + 1 == kLayers && wanted.are_fewer;\n"
          "    if (leaves_rows) {\n"
          "      if (w.args.n_out_rows == 0) return;\n"
          "      w.barrier();\n"
          "      for (uint32_t r = 0; w.index == 0 && r < w.args.n_out_rows; ++r) {\n";
      for (const uint32_t i : p.moved_buffers) {
        const Buffer& buffer = p.buffers[i];
        put("        move_row<{}>(b.{}, w.args.out_rows[r], r);\n", buffer.cols, buffer.name);
      }
      out += "      }\n      w.barrier();\n    }\n";
      call_layer(p, "layer",
                 p.shares_rows ? "leaves_rows ? wanted.worker : w, b, leaves_rows ? of_wanted : shares"
                               : "leaves_rows ? wanted.worker : w, b");
    }
    put("  }}\n  if (w.args.n_out_rows != 0) outputs_{}({}, b);\n}}\n\n", p.name,
        leaves_rows ? "wanted.are_fewer ? wanted.worker : w" : "w");
  }

  void attention_shape() {
    for (const Node& n : g.body) {
      if (n.op != Op::rope_kv) continue;
      const auto attention = std::ranges::find(g.body, Op::attention, &Node::op);
      put("struct AttentionShape {{\n  static constexpr uint32_t n_heads = {}, n_kv_heads = {}, head_dim = "
          "{};\n"
          "  static constexpr bool neox = {};          // pairs (i, i + n_rot/2); otherwise (2i, 2i + 1)\n"
          "  static constexpr bool kv_q8 = {};         // the cache: q8_0, otherwise float16\n"
          "  static constexpr bool bf16_prompts = {};  // a prompt's rows attend in bf16\n"
          "}};\nstatic_assert(KvLayout<AttentionShape>::kLayerBytes == kLayerKvBytes);\n\n",
          n.integer("n_heads"), n.integer("n_kv_heads"), n.integer("head_dim"), n.string("style") == "neox",
          n.string("kv") == "q8_0", attention != g.body.end() && attention->has("prompts"));
    }
  }

  void tables() {
    put("constexpr uint32_t kLayers = {}, kCtx = {}, kRopeRow = {};  // floats of a row of the rotary "
        "table\n",
        g.n_layers, g.ctx_max, plan.rope_row);
    put("constexpr uint64_t kPageBytes = {}, kLayerKvBytes = {};\n", plan.kv_page_bytes, plan.kv_layer_bytes);
    put("constexpr uint64_t kScratchBytes = {} + kScoreFloats<kCtx> * sizeof(float);  // a worker's own "
        "memory\n\n",
        plan.own_bytes);
    out +=
        "// Where each layer's weights start; layers of one signature have the same types and are run by one "
        "function.\n"
        "constexpr struct {\n  uint32_t signature;\n  uint64_t base;\n} kLayer[kLayers] = {\n";
    for (const Layer& l : plan.layers) put("    {{{}, {}}},\n", l.signature, l.base);
    out += "};\n\n";
    for (size_t r = 0; r < plan.ropes.size(); ++r) {
      put("// Angle of pair i at position p: p * kRope{}[i].\nconstexpr double kRope{}[] = {{", r, r);
      const std::vector<double>& frequencies = plan.ropes[r].frequencies;
      for (size_t i = 0; i < frequencies.size(); ++i)
        put("{}{:a}", i % 4 ? ", " : i ? ",\n    " : "\n    ", frequencies[i]);
      out += "};\n\n";
    }
    attention_shape();
  }

  void stages() {
    out +=
        R"(// What w.mark ends, by its number: kernel, output, matrices, their types; bytes of weights of a call and of a row,
// bytes of the cache of a position; operations of a row and of a position; window; the layer from which on rows are the wanted ones.
constexpr forge::rt::StageInfo kStages[] = {
)";
    for (const std::string& row : stage_table) put("    {},\n", row);
    out += "};\n\n";
  }

  // Whether a prompt's rows have an arithmetic of their own, which the decode phase has not.
  bool has_prompt_type() const {
    return std::ranges::any_of(g.body, [](const Node& n) { return n.has("prompts"); });
  }

  // The most events that a worker logs in a step: its begin, calls and barriers.
  uint32_t max_stage_events() const {
    const auto events = [](const std::vector<Stage>& stages) {
      size_t n = 0;
      for (const Stage& s : stages) {
        const bool call_a_segment = s.kernel == Kernel::linear && !is_gated(s.node.epilogue);
        n += (s.barrier || s.deep_barrier ? 1 : 0) + (call_a_segment ? s.node.segments.size() : 1);
      }
      return n;
    };
    size_t most = 0;
    for (const Phase& p : plan.phases) {
      const size_t barriers_of_moving = p.wanted_from == 0 ? 0 : 2;
      most = std::max(most, 1 + events(p.prologue) + g.n_layers * events(p.body) + barriers_of_moving +
                                events(p.epilogue));
    }
    return static_cast<uint32_t>(most);
  }

  // The check must run on a processor that lacks the features this file is compiled for.
  void feature_check() {
    if (level.features.empty())
      out += "const char* missing_cpu_feature() { return nullptr; }\n\n";
    else if (level.triple == kArmTriple)
      arm_feature_check();
    else
      x86_feature_check();
  }

  void arm_feature_check() {
    out +=
        "extern \"C\" unsigned long getauxval(unsigned long) noexcept;\n"
        "// The first feature that this processor or its operating system lacks, or null.\n"
        "const char* missing_cpu_feature() {\n";
    for (const CpuFeature& f : level.features)
      put("  if ((getauxval({}) >> {} & 1) == 0) return \"{}\";\n", f.leaf, f.bit, f.name);
    out += "  return nullptr;\n}\n\n";
  }

  void x86_feature_check() {
    out +=
        R"(// The first feature that this processor or its operating system lacks, or null. Compiled for the plainest x86-64.
__attribute__((target("no-sse3,no-popcnt,no-avx,no-avx2,no-avx512f,no-bmi,no-bmi2,no-lzcnt,no-movbe,no-fma,no-f16c"))) const char*
missing_cpu_feature() {
  static constexpr struct {
    const char* name;
    uint32_t leaf, subleaf, reg, bit;
    uint64_t xcr0;
  } kFeatures[] = {
)";
    for (const CpuFeature& f : level.features)
      put("      {{\"{}\", {}, {}, {}, {}, {}}},\n", f.name, f.leaf, f.subleaf, f.reg - 'a', f.bit, f.xcr0);
    out += R"(  };
  for (const auto& f : kFeatures) {
    uint32_t r[4];
    asm volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(f.leaf & 0x80000000u), "c"(0));
    if (r[0] < f.leaf) return f.name;
    asm volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(f.leaf), "c"(f.subleaf));
    if ((r[f.reg] >> f.bit & 1) == 0) return f.name;
    if (f.xcr0 == 0) continue;
    asm volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(1), "c"(0));
    if ((r[2] >> 27 & 1) == 0) return f.name;  // OSXSAVE: xgetbv may be used
    uint32_t low, high;
    asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    if ((((uint64_t)high << 32 | low) & f.xcr0) != f.xcr0) return f.name;
    if (f.xcr0 != 0x60000) continue;
    // Tile registers: arch_prctl(ARCH_REQ_XCOMP_PERM, XTILEDATA), without which Linux doesn't lend them.
    int64_t error;
    asm volatile("syscall" : "=a"(error) : "a"(158), "D"(0x1023), "S"(18) : "rcx", "r11", "memory");
    if (error != 0) return f.name;
  }
  return nullptr;
}

)";
  }

  // Before the first linear that they are for.
  void schedule_constants() {
    std::string constants;
    const auto add = [&](std::string_view name, uint32_t columns, uint32_t value) {
      if (value != 0)
        constants += fmt::format("template <>\nconstexpr uint32_t {}<{}> = {};\n", name, columns, value);
    };
    for (const auto& [columns, schedule] : schedules) {
      add("kPrefetch", columns, schedule.prefetch);
      add(level.has_bf16_tiles() ? "kPanels" : "kGroupBlock", columns, schedule.prompt_groups);
    }
    if (!constants.empty())
      put("// Measured on the machine that this was compiled on.\nnamespace forge::kernels {{\nnamespace "
          "{{\n{}"
          "}}  // namespace\n}}  // namespace forge::kernels\n\n",
          constants);
  }

  std::string file() {
    put("// Generated by forge: {} with {} layers, {} hidden, {} tokens, for {}.\n"
        "// A step runs the decode phase for few rows and the batch or prompt phase for many; all loop over "
        "the "
        "layers and call one\n"
        "// function for each layer signature. Of many rows it is in two parts: up to the KV cache, and the "
        "rest, "
        "which in the last\n"
        "// layer only rows have whose output is wanted. Every worker runs all of it and takes its share of "
        "each "
        "stage.\n"
        "#include \"codegen/cpu/kernels/kernels.h\"\n\n",
        g.name, g.n_layers, g.n_hidden, g.n_vocab, level.name);
    schedule_constants();
    out += "namespace {\nusing namespace forge::kernels;\n\n";
    tables();
    for (const Phase& p : plan.phases) {
      buffers(p);
      for (uint32_t s = 0; s < plan.signatures.size(); ++s) layer_functions(p, s);
      phase_function(p);
    }
    stages();
    put("void step(const forge::rt::ModelCode*, const StepArgs* args, uint32_t index) {{\n"
        "  const Worker w{{*args, index}};\n"
        "  w.mark(forge::rt::kOutsideStep);\n"
        "  if (args->n_rows <= {}{}) step_decode(w);\n{}  else step_batch(w);\n}}\n\n",
        plan.phases[0].max_rows, has_prompt_type() ? " && !has_prompt_rows(w)" : "",
        plan.phases.size() > 2 ? "  else if (has_shares(w)) step_prompt(w);\n" : "");
    feature_check();
    out += "}  // namespace\n\n";
    if (!next.empty()) put("extern \"C\" const forge::rt::ModelCode {};\n", next);
    put("extern \"C\" {}const forge::rt::ModelCode {} = {{\n"
        "    .abi = forge::rt::kModelCodeAbi,\n    .plan_hash = {}ULL,\n    .weights_bytes = {},\n    "
        ".n_layers = kLayers,\n"
        "    .n_vocab = {},\n    .n_hidden = {},\n    .ctx_max = kCtx,\n    .max_rows = {},\n    "
        ".max_out_rows = {},\n"
        "    .logits_stride = {},\n    .kv_page_bytes = kPageBytes,\n    .arena_bytes = {},\n"
        "    .scratch_bytes = kScratchBytes,\n    .weight_bytes_per_token = {},\n    .level = \"{}\",\n"
        "    .missing_cpu_feature = missing_cpu_feature,\n    .step = step,\n    .context = nullptr,\n    "
        ".next = {},\n"
        "    .stages = kStages,\n    .n_stages = {},\n    .max_stage_events = {},\n}};\n",
        symbol == kFirstSymbol ? "__attribute__((visibility(\"default\"))) " : "", symbol, hash,
        plan.weights_bytes, g.n_vocab, g.n_hidden, plan.max_rows, plan.max_out_rows, plan.logits_stride,
        plan.arena_bytes, plan.weight_bytes_per_token, level.name,
        next.empty() ? "nullptr" : fmt::format("&{}", next), stage_table.size(), max_stage_events());
    return std::move(out);
  }
};

}  // namespace

std::string emit_cpu(const Graph& graph, const Plan& plan, uint64_t hash, const CpuTarget& target,
                     size_t level, const Schedules& schedules) {
  const std::string next = level + 1 < target.levels.size() ? code_symbol(level + 1) : "";
  return Emitter{graph, plan, *target.levels[level], code_symbol(level), next, hash, schedules}.file();
}

}  // namespace forge
