// Plan: what runs where, on one kind of device.
//
// A phase is the whole step for one kind of batch: `decode` for few rows, `batch` for many, and
// `prompt` for many rows of prompts alone, where these have a matrix unit and layers are narrow. It is a list of
// stages with the layers still rolled up. A stage is a kernel, the way its tiles are divided among workers,
// and what it reads and writes; kernels never synchronise. Where workers must wait for each other is derived
// from these accesses (derive_barriers) and is data of the stage.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ir/graph.h"
#include "quant/packed.h"

namespace forge {

enum class Kernel : uint8_t {
  rope_angles,  // cosines and sines of the rows' positions
  embed,
  norm,       // of whole rows, with or without quantization of the result
  head_norm,  // of each head
  quantize,
  linear,
  elementwise,
  rope_kv,
  attention_scores,  // of few rows in a deep step: what attention then weighs
  attention,
  select_rows,
  output_hidden,  // copies the final hidden state to the caller, if it asked
};

// As above.
std::string_view kernel_name(Kernel kernel);

// How a stage's work is divided among the workers.
enum class Division : uint8_t {
  rows,    // contiguous ranges of rows, of equal size
  shares,  // likewise, of a size that suits each worker's speed; it changes where workers wait for each other
  groups,  // contiguous ranges of groups of 16 outputs, all rows
  heads,   // contiguous ranges of kv heads with their queries, all rows
  row_tiles,  // contiguous ranges of sixteen rows times a kv head with its queries
  pages,      // contiguous ranges of the pages of all kv heads and rows
  heads_or_dims,  // in a deep step contiguous ranges of the dimensions of all kv heads and rows, otherwise as heads
  blocks,         // blocks of rows times kv heads, each to the worker that comes for it
  dealt_groups,  // ranges of groups of 16 outputs, all rows, likewise
  every_worker,  // each worker does all of it, into memory of its own
};

// As the dump and the source show it.
std::string_view division_name(Division division);

// The part of a buffer that one worker touches. Two accesses of one worker's parts can't meet another
// worker's when they are divided alike.
struct Access {
  enum class Part : uint8_t { all, rows, groups, heads };
  uint32_t buffer = 0;
  bool write = false;
  Part part = Part::all;
  uint32_t n = 0;         // groups: how many in all
  bool all_deep = false;  // in a deep step it is Part::all

  Part part_of(bool deep) const { return deep && all_deep ? Part::all : part; }
};

// Memory for the value of a Graph (or a table), rows x row_bytes. `own` buffers exist once a worker.
struct Buffer {
  std::string name;
  ElementType element = ElementType::f32;
  uint32_t cols = 0;
  uint32_t max_rows = 0;
  uint64_t row_bytes = 0;  // f32 rows are padded with zeros to 16 columns
  bool own = false;
  uint64_t offset = 0;  // in the arena, or in the worker's scratch
  uint64_t bytes() const { return uint64_t{max_rows} * row_bytes; }
};

inline constexpr uint32_t kNoBuffer = ~0u;

struct Stage {
  Kernel kernel = Kernel::elementwise;
  Node node;  // what it computes; empty for rope_angles and output_hidden
  Division division = Division::rows;
  RowSet rows = RowSet::all;
  std::vector<Access> accesses;
  bool barrier = false;       // all workers wait here before the stage
  bool deep_barrier = false;  // likewise, in a deep step alone
  bool only_deep = false;     // there is nothing to do in other steps
  uint32_t first_deal = 0;    // of what is dealt: its number since the last barrier, the first of n_deals()

  // What is dealt at a time: a linear's outputs one by one.
  uint32_t n_deals() const {
    if (division == Division::blocks) return 1;
    if (division != Division::dealt_groups) return 0;
    return is_gated(node.epilogue) ? 1 : static_cast<uint32_t>(node.segments.size());
  }
};

// A step of the decode phase is deep where attention takes longer than waiting for each other does: then it is divided
// finer than by heads (codegen/cpu/kernels/attention.h, is_deep), with the same result.
struct Phase {
  std::string name;
  uint32_t max_rows = 0;
  // Whether a worker takes its rows through all of a layer (Division::shares): what it reads it wrote itself, but for the
  // cache and rows that it got at the last barrier, and workers wait for each other once a layer.
  bool shares_rows = false;
  // Whether buffers that are never alive together share memory. With few rows they had better not: the memory is small,
  // and reusing it can make a stage wait.
  bool share_memory = true;
  std::vector<Buffer> buffers;
  std::vector<uint32_t> value_buffer;  // by ValueId; kNoBuffer for values that live elsewhere
  uint32_t rope_table = kNoBuffer, kv_cache = kNoBuffer, scores = kNoBuffer;
  std::vector<Stage> prologue, body, epilogue;
  // Behind the stages that fill the cache the last layer matters to the rows alone whose output is wanted: from this stage of
  // the body on it has those only, 0 where it has all (the decode phase, whose rows are wanted as a rule). In front of it their
  // rows of some buffers are moved to the front, between two barriers.
  uint32_t wanted_from = 0;
  std::vector<uint32_t> moved_buffers;
  uint64_t arena_bytes = 0, own_bytes = 0;
};

// Where a tensor of the checkpoint lies in the weights section.
struct PlacedWeight {
  WeightId weight = kNoWeight;
  uint32_t layer = 0;
  DType type = DType::f32;
  Layout layout = Layout::tiles16;
  uint64_t offset = 0;  // from the start of the weights section, a multiple of 256
  uint64_t bytes = 0;
};

// Layers of one signature have the same types, hence the same offsets from the layer's base, and the same attributes:
// code is emitted once for all of them.
struct Signature {
  std::vector<std::pair<WeightId, uint64_t>> offsets;  // of each per-layer weight
};
inline constexpr uint32_t kNoRope = ~0u;
struct Layer {
  uint32_t signature = 0;
  uint64_t base = 0;
  uint32_t rope = kNoRope;
};

// One rotation, of all layers that rotate alike: position * frequency[i] is the angle of pair i; magnitude multiplies its
// cosine and sine. Its place in a row of the rotary table is `offset` floats from the row's start.
struct Rope {
  std::vector<double> frequencies;
  float magnitude = 1;
  uint32_t offset = 0;
  bool operator==(const Rope& other) const {
    return frequencies == other.frequencies && magnitude == other.magnitude;
  }
};

struct Plan {
  std::string target;  // "cpu"
  std::vector<PlacedWeight> weights;
  std::vector<Signature> signatures;
  std::vector<Layer> layers;
  uint64_t weights_bytes = 0, weight_bytes_per_token = 0;
  std::vector<Rope> ropes;
  uint32_t rope_row = 0;      // floats of a row of the rotary table
  std::vector<Phase> phases;  // decode, batch, and prompt where there is one (above)
  uint32_t max_rows = 0, max_out_rows = 0, logits_stride = 0;
  uint64_t kv_layer_bytes = 0, kv_page_bytes = 0;
  uint64_t arena_bytes = 0, own_bytes = 0;

  const PlacedWeight& placed(WeightId weight, uint32_t layer) const;
  uint64_t offset_in_layer(uint32_t signature, WeightId weight) const;
};

// Lowers an optimized graph for the CPU. factors: what the rope_freqs tensor holds, empty where the model has
// none. Throws Error for an operation that has no kernel.
Plan lower_cpu(const Graph& graph, const std::vector<float>& rope_factors);

// Assigns offsets to the phase's buffers: two that are never alive together may share memory (Phase::share_memory).
void assign_arena(Phase& phase);
// Decides which stages wait: a stage must when it may touch memory that another worker has written, or is to
// overwrite what another worker may still read, since the last barrier.
void derive_barriers(Phase& phase);
// Lays out the weights section and finds the signatures.
void place_weights(const Graph& graph, Plan& plan);

// The text that `forge dump --stage plan` shows.
std::string print(const Plan& plan, const Graph& graph);
// Identifies the plan: code and payload must carry the same.
uint64_t plan_hash(const Plan& plan, const Graph& graph);

}  // namespace forge
