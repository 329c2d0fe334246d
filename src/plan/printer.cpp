#include <fmt/format.h>

#include <iterator>

#include "plan/plan.h"
#include "runtime/core/payload.h"

namespace forge {
namespace {

constexpr std::string_view kKernelNames[] = {"rope_angles",      "embed",     "norm",        "head_norm",
                                             "quantize",         "linear",    "elementwise", "rope_kv",
                                             "attention_scores", "attention", "select_rows", "output_hidden"};
constexpr std::string_view kDivisionNames[] = {
    "rows",  "rows, shared",  "groups",        "heads",         "rows x heads",
    "pages", "heads or dims", "blocks, dealt", "groups, dealt", "every worker"};
constexpr std::string_view kPartNames[] = {"", "/rows", "/groups", "/heads"};

void print_stages(const Phase& p, const Graph& g, const std::vector<Stage>& stages, std::string_view indent,
                  std::string& out) {
  auto to = std::back_inserter(out);
  for (const Stage& s : stages) {
    if (p.wanted_from != 0 && &s == &p.body[p.wanted_from]) {
      fmt::format_to(to, "{}-- of the last layer only wanted rows:", indent);
      for (const uint32_t b : p.moved_buffers) fmt::format_to(to, " {}", p.buffers[b].name);
      out += '\n';
    }
    if (s.barrier || s.deep_barrier)
      fmt::format_to(to, "{}-- barrier{}\n", indent, s.barrier ? "" : " in a deep step");
    fmt::format_to(to, "{}{:<16} by {:<13}", indent, kernel_name(s.kernel), division_name(s.division));
    for (const bool write : {false, true}) {
      const char* arrow = write ? " ->" : "  ";
      for (const Access& a : s.accesses) {
        if (a.write != write) continue;
        fmt::format_to(to, "{} {}{}{}", arrow, p.buffers[a.buffer].own ? "own " : "",
                       p.buffers[a.buffer].name, kPartNames[static_cast<size_t>(a.part)]);
        arrow = "";
      }
    }
    for (const Segment& segment : s.node.segments) fmt::format_to(to, " @{}", g.weights[segment.weight].name);
    out += '\n';
  }
}

}  // namespace

std::string_view division_name(Division division) { return kDivisionNames[static_cast<size_t>(division)]; }

std::string_view kernel_name(Kernel kernel) { return kKernelNames[static_cast<size_t>(kernel)]; }

std::string print(const Plan& plan, const Graph& g) {
  std::string out;
  auto to = std::back_inserter(out);
  fmt::format_to(to, "plan for {} {{\n  weights {} bytes, {} read a token; rows up to {}, outputs up to {}\n",
                 plan.target, plan.weights_bytes, plan.weight_bytes_per_token, plan.max_rows,
                 plan.max_out_rows);
  fmt::format_to(to, "  kv page {} bytes ({} a layer); arena {} bytes; {} bytes a worker\n",
                 plan.kv_page_bytes, plan.kv_layer_bytes, plan.arena_bytes, plan.own_bytes);
  for (const PlacedWeight& w : plan.weights) {
    if (g.weights[w.weight].per_layer) continue;
    fmt::format_to(to, "  at {:>12} {:>12} bytes  {:<8} {:<8} {}\n", w.offset, w.bytes, info(w.type).name,
                   layout_name(w.layout), g.weights[w.weight].tensor_name(0));
  }
  for (size_t s = 0; s < plan.signatures.size(); ++s) {
    fmt::format_to(to, "  signature {}\n", s);
    uint32_t layer = 0;
    while (plan.layers[layer].signature != s) ++layer;
    for (const auto& [id, offset] : plan.signatures[s].offsets) {
      const PlacedWeight& w = plan.placed(id, layer);
      fmt::format_to(to, "    base + {:>10} {:>12} bytes  {:<8} {:<8} @{}\n", offset, w.bytes,
                     info(w.type).name, layout_name(w.layout), g.weights[id].name);
    }
  }
  for (size_t l = 0; l < plan.layers.size(); ++l)
    fmt::format_to(to, "  layer {:>3}: signature {}, base {}{}\n", l, plan.layers[l].signature,
                   plan.layers[l].base,
                   plan.layers[l].rope == kNoRope ? "" : fmt::format(", rope {}", plan.layers[l].rope));
  for (const Phase& p : plan.phases) {
    fmt::format_to(to, "  phase {} (up to {} rows) {{\n", p.name, p.max_rows);
    for (const Buffer& b : p.buffers)
      if (b.bytes() > 0)
        fmt::format_to(to, "    buffer {:<18} at {:>9} {:>9} bytes{}\n", b.name, b.offset, b.bytes(),
                       b.own ? ", a worker" : "");
    print_stages(p, g, p.prologue, "    ", out);
    fmt::format_to(to, "    repeat {} {{\n", g.n_layers);
    print_stages(p, g, p.body, "      ", out);
    out += "    }\n";
    print_stages(p, g, p.epilogue, "    ", out);
    out += "  }\n";
  }
  out += "}\n";
  return out;
}

uint64_t plan_hash(const Plan& plan, const Graph& graph) {
  std::string text = print(graph) + print(plan, graph);
  for (const Rope& rope : plan.ropes) {
    text += fmt::format("{} at {}: ", rope.magnitude, rope.offset);
    for (double f : rope.frequencies) text += fmt::format("{} ", f);
  }
  return rt::hash64({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
}

}  // namespace forge
