#include "interp/interpreter.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

#include "core/error.h"
#include "interp/scalar_math.h"
#include "ir/rope.h"
#include "ir/weight_tensor.h"
#include "quant/half.h"
#include "quant/packed.h"

namespace forge {
namespace {

constexpr uint32_t kBlock = 32;  // of q8 activations

// A value while a step runs.
struct Matrix {
  uint32_t cols = 0;
  std::vector<float> f;   // f32, and bf16 as floats: [rows, cols]
  std::vector<int8_t> q;  // q8:  [rows, cols]
  std::vector<float> d;   //      [rows, cols / 32]

  float* row(uint64_t r) { return f.data() + r * cols; }
  const float* row(uint64_t r) const { return f.data() + r * cols; }
};

void quantize(const float* x, uint32_t n, int8_t* q, float* d) {
  for (uint32_t b = 0; b < n / kBlock; ++b) {
    float top = 0;
    for (uint32_t i = 0; i < kBlock; ++i) top = std::max(top, std::fabs(x[b * kBlock + i]));
    const bool zero = !(top >= 1e-30F);
    d[b] = zero ? 0.0F : top / 127.0F;
    const float inverse = zero ? 0.0F : 127.0F / top;
    for (uint32_t i = 0; i < kBlock; ++i)
      q[b * kBlock + i] = static_cast<int8_t>(std::nearbyintf(x[b * kBlock + i] * inverse));
  }
}

// As the cache holds it: float16, with what is beyond its range held at its ends.
float cached_half(float x) {
  constexpr float kMax = 65504.0F;
  return half_to_float(float_to_half(x > kMax ? kMax : x < -kMax ? -kMax : x));
}

// A block of keys or values as the KV cache in q8_0 gives it back; src/codegen/cpu/kernels/attention.h, write_kv.
void round_to_q8(const float* x, uint32_t n, float* out) {
  float top = 0;
  bool is_nan = false;
  for (uint32_t i = 0; i < n; ++i) {
    top = std::max(top, std::fabs(x[i]));
    is_nan |= std::isnan(x[i]);
  }
  const float scale = is_nan ? std::numeric_limits<float>::quiet_NaN() : cached_half(top / 127.0F);
  for (uint32_t i = 0; i < n; ++i) {
    const float q = scale > 0 ? std::nearbyintf(x[i] * (1.0F / scale)) : 0.0F;
    out[i] = static_cast<float>(static_cast<int8_t>(std::clamp(q, -127.0F, 127.0F))) * scale;
  }
}

// One row of a weight matrix in the form in which it is multiplied.
struct WeightRow {
  const BlockCodec* codec = nullptr;  // null: values holds the floats
  std::vector<float> values;
  std::vector<int8_t> levels;
  std::vector<uint8_t> records;  // one a block, kMaxRecord apart
  std::vector<float> rounded;    // in bf16

  void load(const Tensor& t, uint64_t row, bool as_floats) {
    const uint64_t cols = static_cast<uint64_t>(t.cols());
    const uint8_t* source = t.data.data() + row * row_bytes(t.type, cols);
    codec = as_floats ? nullptr : block_codec(t.type);
    if (codec == nullptr) {
      values.resize(cols);
      info(t.type).decode(source, values.data(), cols);
      return;
    }
    const DTypeInfo& type = info(t.type);
    levels.resize(cols);
    records.resize(cols / type.block_weights * kMaxRecord);
    std::array<uint8_t, kMaxBlock> codes;
    for (uint64_t b = 0; b < cols / type.block_weights; ++b) {
      codec->split(source + b * type.block_bytes, records.data() + b * kMaxRecord, codes.data());
      codec->levels(codes.data(), levels.data() + b * type.block_weights);
    }
  }

  float dot(const float* x) const {
    float sum = 0;
    for (size_t k = 0; k < values.size(); ++k) sum = std::fmaf(values[k], x[k], sum);
    return sum;
  }

  // Makes `rounded` of a block type's levels and scales.
  void round_for_prompts() {
    const uint32_t block = info(codec->type).block_weights;
    rounded.resize(levels.size());
    for (size_t k = 0; k < levels.size(); ++k) {
      const uint8_t* record = records.data() + k / block * kMaxRecord;
      const auto run = static_cast<uint32_t>(k % block / codec->run);
      rounded[k] = bf16_weight(levels[k], codec->scale(record, run), codec->minimum_of(record, run),
                               codec->level_bits);
    }
  }

  // With weights and x in bf16.
  float bf16_dot(const float* x) const {
    return bf16_sum(0, rounded.size(), [&](size_t k) { return std::pair(x[k], rounded[k]); });
  }

  // For each run of 16 or 32 weights that share a scale: its integers' sum times scale_w * scale_x, one fused
  // step, and where the type has minimums another one with the minimum times the sum of x.
  float dot(const int8_t* q, const float* d) const {
    const uint32_t block = info(codec->type).block_weights;
    float sum = 0;
    for (uint32_t k = 0; k < levels.size(); k += codec->run) {
      const uint8_t* record = records.data() + k / block * kMaxRecord;
      const uint32_t run = k % block / codec->run;
      const float dx = d[k / kBlock];
      int32_t dot = 0, total = 0;
      for (uint32_t i = k; i < k + codec->run; ++i) {
        dot += levels[i] * q[i];
        total += q[i];
      }
      sum = std::fmaf(static_cast<float>(dot), codec->scale(record, run) * dx, sum);
      if (codec->minimum != nullptr)
        sum = std::fmaf(codec->minimum(record, run), dx * static_cast<float>(total), sum);
    }
    return sum;
  }
};

// One step over one batch.
struct Run {
  const Graph& g;
  const std::vector<std::vector<Tensor>>& tensors;
  const rt::StepArgs& args;
  std::vector<Matrix> values;
  uint32_t layer = 0;
  bool in_body = false;

  uint32_t n_rows(const Value& v) const { return v.rows == RowSet::wanted ? args.n_out_rows : args.n_rows; }
  const Tensor& tensor(WeightId id) const { return tensors[id][g.weights[id].per_layer ? layer : 0]; }
  std::vector<float> vector(WeightId id) const {
    WeightRow row;
    row.load(tensor(id), 0, true);
    return row.values;
  }
  Matrix& make(ValueId id) {
    Matrix& m = values[id];
    const Value& v = g.values[id];
    const uint64_t n = uint64_t{n_rows(v)} * v.cols;
    m.cols = v.cols;
    if (v.element != ElementType::q8) {
      m.f.assign(n, 0);
    } else {
      m.q.assign(n, 0);
      m.d.assign(n / kBlock, 0);
    }
    return m;
  }

  // Memory of the KV cache: float [layer][key, value][position in page][kv column] in each page.
  float* cache(uint32_t row, uint32_t position, bool value, uint32_t kv_cols) const {
    const uint32_t page = args.page_tables[args.row_sequence[row]][position / rt::kPagePositions];
    const uint64_t page_floats = uint64_t{g.n_layers} * 2 * rt::kPagePositions * kv_cols;
    return reinterpret_cast<float*>(args.kv_pool) + page * page_floats +
           ((uint64_t{layer} * 2 + value) * rt::kPagePositions + position % rt::kPagePositions) * kv_cols;
  }

  void embed(const Node& n) {
    const Tensor& table = tensor(n.segments[0].weight);
    Matrix& out = make(n.outputs[0]);
    WeightRow row;
    const float scale = n.has("scale") ? static_cast<float>(n.number("scale")) : 1.0F;
    const int32_t* index = n.has("of") ? args.positions : args.tokens;
    for (uint32_t r = 0; r < args.n_rows; ++r) {
      row.load(table, static_cast<uint64_t>(index[r]), true);
      for (uint32_t i = 0; i < out.cols; ++i) out.row(r)[i] = row.values[i] * scale;
    }
  }

  static float sum_of_squares(const float* x, uint32_t n) {
    LaneSum squares;
    for (uint32_t i = 0; i < n; ++i) squares.lane[i % 16] = std::fmaf(x[i], x[i], squares.lane[i % 16]);
    return squares.total();
  }

  static void rms_norm(const float* x, const std::vector<float>& gain, float eps, float* y) {
    const auto n = static_cast<uint32_t>(gain.size());
    const float inverse = 1.0F / std::sqrt(sum_of_squares(x, n) / static_cast<float>(n) + eps);
    for (uint32_t i = 0; i < n; ++i) y[i] = x[i] * inverse * gain[i];
  }

  static void layer_norm(const float* x, const std::vector<float>& gain, const std::vector<float>& bias,
                         float eps, float* y) {
    const auto n = static_cast<uint32_t>(gain.size());
    LaneSum sum;
    for (uint32_t i = 0; i < n; ++i) sum.lane[i % 16] += x[i];
    const float mean = sum.total() / static_cast<float>(n);
    for (uint32_t i = 0; i < n; ++i) y[i] = x[i] - mean;
    const float inverse = 1.0F / std::sqrt(sum_of_squares(y, n) / static_cast<float>(n) + eps);
    for (uint32_t i = 0; i < n; ++i) {
      y[i] = y[i] * inverse * gain[i];
      if (!bias.empty()) y[i] += bias[i];
    }
  }

  // A row to each of the forms that the node gives.
  void put_forms(const Node& n, uint32_t r, const float* y) {
    for (ValueId v : n.outputs) {
      Matrix& out = values[v];
      switch (g.values[v].element) {
        case ElementType::q8:
          quantize(y, out.cols, out.q.data() + uint64_t{r} * out.cols,
                   out.d.data() + uint64_t{r} * out.cols / kBlock);
          break;
        case ElementType::bf16: std::transform(y, y + out.cols, out.row(r), round_to_bf16); break;
        default: std::copy_n(y, out.cols, out.row(r));
      }
    }
  }

  void norm(const Node& n) {
    const Matrix& x = values[n.inputs[0]];
    const Segment& weights = n.segments[0];
    const std::vector<float> gain = vector(weights.weight);
    const std::vector<float> bias = weights.bias == kNoWeight ? std::vector<float>{} : vector(weights.bias);
    const float eps = static_cast<float>(n.number("eps"));
    std::vector<float> y(x.cols);
    for (ValueId v : n.outputs) make(v);
    for (uint32_t r = 0; r < n_rows(g.values[n.inputs[0]]); ++r) {
      for (uint32_t at = 0; at < x.cols; at += static_cast<uint32_t>(gain.size()))
        if (n.op == Op::rms_norm)
          rms_norm(x.row(r) + at, gain, eps, y.data() + at);
        else
          layer_norm(x.row(r) + at, gain, bias, eps, y.data() + at);
      put_forms(n, r, y.data());
    }
  }

  void linear(const Node& n) {
    const Matrix *f32 = nullptr, *q8 = nullptr, *bf16 = nullptr, *addend = nullptr;
    for (size_t i = 0; i < n.inputs.size(); ++i) {
      const Matrix* m = &values[n.inputs[i]];
      if (n.epilogue == Epilogue::add && i + 1 == n.inputs.size())
        addend = m;
      else
        (g.values[n.inputs[i]].element == ElementType::q8     ? q8
         : g.values[n.inputs[i]].element == ElementType::bf16 ? bf16
                                                              : f32) = m;
    }
    const uint32_t rows = n_rows(g.values[n.outputs[0]]);
    for (ValueId v : n.outputs) make(v);
    for (size_t s = 0; s < n.segments.size(); ++s) {
      const Tensor& t = tensor(n.segments[s].weight);
      const std::vector<float> bias =
          n.segments[s].bias == kNoWeight ? std::vector<float>{} : vector(n.segments[s].bias);
      Matrix& out = values[n.outputs[is_gated(n.epilogue) ? 0 : s]];
      const bool as_floats = q8 == nullptr || info(t.type).block_weights == 1;
      const Matrix* x = as_floats ? f32 : q8;
      if (x == nullptr) fail("interpreter: {} has no activation of the kind its weight takes", t.name);
      WeightRow w;
      for (uint32_t o = 0; o < out.cols; ++o) {
        w.load(t, o, as_floats);
        if (bf16 != nullptr) w.round_for_prompts();
        for (uint32_t r = 0; r < rows; ++r) {
          const uint64_t at = uint64_t{r} * x->cols;
          const bool in_bf16 = bf16 != nullptr && args.row_class[r] == rt::RowClass::prompt;
          float y = in_bf16     ? w.bf16_dot(bf16->row(r))
                    : as_floats ? w.dot(x->f.data() + at)
                                : w.dot(x->q.data() + at, x->d.data() + at / kBlock);
          if (!bias.empty()) y += bias[o];
          if (n.has("scale")) y *= static_cast<float>(n.number("scale"));
          if (n.has("softcap")) y = kernel_softcap(y, static_cast<float>(n.number("softcap")));
          float& to = out.row(r)[o];
          const auto silu = in_bf16 ? kernel_silu_of_prompt : kernel_silu,
                     gelu = in_bf16 ? kernel_gelu_of_prompt : kernel_gelu;
          switch (n.epilogue) {
            case Epilogue::none: to = y; break;
            case Epilogue::add: to = y + addend->row(r)[o]; break;
            case Epilogue::gelu: to = kernel_gelu(y); break;
            case Epilogue::silu_mul: to = s == 1 ? silu(to) * y : y; break;
            case Epilogue::gelu_mul: to = s == 1 ? gelu(to) * y : y; break;
          }
        }
      }
    }
  }

  // A gated product's rows as the next linear multiplies them in prompts.
  void round_gated(const Node& n) {
    const Matrix& from = values[n.outputs[0]];
    Matrix& to = values[n.outputs[1]];
    std::ranges::transform(from.f, to.f.begin(), round_to_bf16);
  }

  // Rotates the heads of all rows in place.
  void rotate_heads(const Node& n, Matrix& m) const {
    const auto dim = static_cast<uint32_t>(n.integer("head_dim")),
               half = static_cast<uint32_t>(n.integer("n_rot", layer)) / 2;
    if (half == 0) return;
    const bool neox = n.string("style") == "neox";
    const std::vector<double> frequencies =
        rope_frequencies(n, layer, n.segments.empty() ? std::vector<float>{} : vector(n.segments[0].weight));
    const float magnitude = rope_magnitude(n, layer);
    for (uint32_t r = 0; r < args.n_rows; ++r)
      for (uint32_t i = 0; i < half; ++i) {
        const double angle = args.positions[r] * frequencies[i];
        const float c = static_cast<float>(std::cos(angle)) * magnitude,
                    s = static_cast<float>(std::sin(angle)) * magnitude;
        for (float* x = m.row(r); x < m.row(r) + m.cols; x += dim) {
          float& a = x[neox ? i : 2 * i];
          float& b = x[neox ? i + half : 2 * i + 1];
          const float xa = a, xb = b;
          a = std::fmaf(xa, c, -(xb * s));
          b = std::fmaf(xa, s, xb * c);
        }
      }
  }

  // Rounded to `type`: "f32", "f16" or "q8_0", whose blocks are those of a head of `dim` columns.
  void append_to_cache(const Matrix& k, const Matrix& v, std::string_view type, uint32_t dim) const {
    for (uint32_t r = 0; r < args.n_rows; ++r)
      for (const bool is_value : {false, true}) {
        float* to = cache(r, static_cast<uint32_t>(args.positions[r]), is_value, k.cols);
        const float* from = (is_value ? v : k).row(r);
        if (type == "q8_0") {
          for (uint32_t head = 0; head < k.cols; head += dim)
            for (uint32_t d = head; d < head + dim; d += kBlock)
              round_to_q8(from + d, std::min(kBlock, head + dim - d), to + d);
        } else {
          for (uint32_t i = 0; i < k.cols; ++i) to[i] = type == "f16" ? cached_half(from[i]) : from[i];
        }
      }
  }

  void rope_kv(const Node& n) {
    Matrix k = values[n.inputs[1]];
    make(n.outputs[0]).f = values[n.inputs[0]].f;
    rotate_heads(n, values[n.outputs[0]]);
    rotate_heads(n, k);
    append_to_cache(k, values[n.inputs[2]], n.string("kv"), static_cast<uint32_t>(n.integer("head_dim")));
  }

  // One query's view of the cache: keys and values of the positions [first, limit).
  struct Seen {
    const Run& run;
    uint32_t row, first, limit, kv_cols, kv;  // kv: the head's first column
    const float* key(uint32_t p) const { return run.cache(row, p, false, kv_cols) + kv; }
    const float* value(uint32_t p) const { return run.cache(row, p, true, kv_cols) + kv; }
  };

  // exp(score - the largest) of each position weighs its value.
  template <class Score>
  static void attend(const Seen& seen, uint32_t dim, Score score, std::vector<float>& p, float* out) {
    float top = -std::numeric_limits<float>::infinity();
    p.resize(seen.limit);
    for (uint32_t i = seen.first; i < seen.limit; ++i) {
      p[i] = score(i);
      top = std::max(top, p[i]);
    }
    LaneSum sum;
    for (uint32_t i = seen.first; i < seen.limit; ++i) {
      p[i] = kernel_exp(p[i] - top);
      sum.lane[i % 16] += p[i];
    }
    const float inverse = 1.0F / sum.total();
    for (uint32_t d = 0; d < dim; ++d) {
      float y = 0;
      for (uint32_t i = seen.first; i < seen.limit; ++i) y = std::fmaf(p[i], seen.value(i)[d], y);
      out[d] = y * inverse;
    }
  }

  // Likewise in bf16 and of scores to the base of two, page after page of the cache
  // (src/codegen/cpu/kernels/attention_blocks.h).
  template <class Score>
  static void attend_in_bf16(const Seen& seen, uint32_t dim, Score score, float* out) {
    constexpr uint32_t kPage = rt::kPagePositions;
    float top = -3e38F;
    LaneSum total;
    std::vector<float> sum(dim);
    for (uint32_t page = seen.first / kPage * kPage; page < seen.limit; page += kPage) {
      const uint32_t begin = std::max(page, seen.first), end = std::min(page + kPage, seen.limit);
      std::array<float, kPage> p{};
      const float before = top;
      for (uint32_t i = begin; i < end; ++i) {
        p[i - page] = score(i);
        top = std::max(top, p[i - page]);
      }
      const float factor = kernel_exp2_of_negative(before - top);
      for (float& lane : total.lane) lane *= factor;
      for (uint32_t i = begin; i < end; ++i) {
        const float e = kernel_exp2_of_negative(p[i - page] - top);
        total.lane[i % 16] += e;
        p[i - page] = round_to_bf16(e);
      }
      for (uint32_t d = 0; d < dim; ++d)
        sum[d] = bf16_sum(sum[d] * factor, kPage, [&](size_t i) {
          const auto at = page + static_cast<uint32_t>(i);
          return std::pair(p[i], at < begin || at >= end ? 0.0F : round_to_bf16(seen.value(at)[d]));
        });
    }
    const float inverse = 1.0F / total.total();
    for (uint32_t d = 0; d < dim; ++d) out[d] = sum[d] * inverse;
  }

  void attention(const Node& n) {
    const uint32_t heads = static_cast<uint32_t>(n.integer("n_heads")),
                   dim = static_cast<uint32_t>(n.integer("head_dim"));
    const uint32_t kv_heads = static_cast<uint32_t>(n.integer("n_kv_heads")), kv_cols = kv_heads * dim;
    const float scale = static_cast<float>(n.number("scale"));
    const float cap = n.has("softcap") ? static_cast<float>(n.number("softcap")) : 0.0F;
    const auto window = n.has("window") ? static_cast<uint32_t>(n.integer("window", layer)) : 0;  // 0: all
    if (n.inputs.size() == 3) append_to_cache(values[n.inputs[1]], values[n.inputs[2]], n.string("kv"), dim);
    const Matrix& q = values[n.inputs[0]];
    Matrix& out = make(n.outputs[0]);
    const auto scored = [&](float s) { return cap != 0 ? kernel_softcap(s * scale, cap) : s * scale; };
    std::vector<float> p, rounded(dim);
    for (uint32_t r = 0; r < args.n_rows; ++r) {
      const uint32_t limit = static_cast<uint32_t>(args.positions[r]) + 1;
      const uint32_t first = window != 0 && limit > window ? limit - window : 0;
      for (uint32_t h = 0; h < heads; ++h) {
        const Seen seen{*this, r, first, limit, kv_cols, h / (heads / kv_heads) * dim};
        const float* query = q.row(r) + h * dim;
        float* to = out.row(r) + h * dim;
        if (n.has("prompts") && args.row_class[r] == rt::RowClass::prompt) {
          const float factor = cap != 0 ? scale : scale * kLog2E;
          std::transform(query, query + dim, rounded.begin(),
                         [&](float x) { return round_to_bf16(x * factor); });
          const auto score = [&](uint32_t i) {
            const float s = bf16_sum(
                0, dim, [&](size_t d) { return std::pair(rounded[d], round_to_bf16(seen.key(i)[d])); });
            return cap != 0 ? kernel_softcap(s, cap) * kLog2E : s;
          };
          attend_in_bf16(seen, dim, score, to);
        } else {
          const auto score = [&](uint32_t i) {
            float s = 0;
            for (uint32_t d = 0; d < dim; ++d) s = std::fmaf(query[d], seen.key(i)[d], s);
            return scored(s);
          };
          attend(seen, dim, score, p, to);
        }
      }
    }
  }

  template <class F>
  void elementwise(const Node& n, F f) {
    Matrix& out = make(n.outputs[0]);
    const Matrix &a = values[n.inputs[0]], &b = values[n.inputs.back()];
    for (size_t i = 0; i < out.f.size(); ++i) out.f[i] = f(a.f[i], b.f[i]);
  }

  void node(const Node& n) {
    switch (n.op) {
      case Op::embed: embed(n); break;
      case Op::rms_norm:
      case Op::layer_norm: norm(n); break;
      case Op::linear:
        linear(n);
        if (is_gated(n.epilogue) && n.outputs.size() == 2) round_gated(n);
        break;
      case Op::rope:
        make(n.outputs[0]).f = values[n.inputs[0]].f;
        rotate_heads(n, values[n.outputs[0]]);
        break;
      case Op::rope_kv: rope_kv(n); break;
      case Op::attention: attention(n); break;
      case Op::silu: elementwise(n, [](float a, float) { return kernel_silu(a); }); break;
      case Op::gelu: elementwise(n, [](float a, float) { return kernel_gelu(a); }); break;
      case Op::scale:
        elementwise(n, [by = static_cast<float>(n.number("by"))](float a, float) { return a * by; });
        break;
      case Op::softcap:
        elementwise(n, [cap = static_cast<float>(n.number("cap"))](float a, float) {
          return kernel_softcap(a, cap);
        });
        break;
      case Op::mul: elementwise(n, [](float a, float b) { return a * b; }); break;
      case Op::add: elementwise(n, [](float a, float b) { return a + b; }); break;
      case Op::quantize:
        for (ValueId v : n.outputs) make(v);
        for (uint32_t r = 0; r < n_rows(g.values[n.outputs[0]]); ++r)
          if (!n.has("rows") || args.row_class[r] == rt::RowClass::generated)
            put_forms(n, r, values[n.inputs[0]].row(r));
        break;
      case Op::select_rows: {
        Matrix& out = make(n.outputs[0]);
        for (uint32_t i = 0; i < args.n_out_rows; ++i) {
          const float* from = values[n.inputs[0]].row(args.out_rows[i]);
          std::copy(from, from + out.cols, out.row(i));
        }
        break;
      }
    }
    if (args.trace == nullptr) return;
    for (ValueId v : n.outputs)
      if (g.values[v].element == ElementType::f32)
        args.trace(args.trace_context, g.values[v].name.c_str(), in_body ? static_cast<int32_t>(layer) : -1,
                   values[v].f.data(), n_rows(g.values[v]), g.values[v].cols, g.values[v].cols);
  }

  void run() {
    values.resize(g.values.size());
    for (const Node& n : g.prologue) node(n);
    values[g.body_input] = values[g.prologue_output];
    in_body = true;
    for (layer = 0; layer < g.n_layers; ++layer) {
      if (layer > 0) values[g.body_input] = values[g.body_output];
      for (const Node& n : g.body) node(n);
    }
    in_body = false;
    layer = 0;
    if (args.n_out_rows == 0) return;
    for (const Node& n : g.epilogue)
      if (args.logits != nullptr || n.outputs[0] != g.logits) node(n);
    for (uint32_t i = 0; i < args.n_out_rows; ++i) {
      if (args.hidden != nullptr)
        std::copy_n(values[g.hidden].row(i), g.n_hidden, args.hidden + uint64_t{i} * g.n_hidden);
      if (args.logits != nullptr)
        std::copy_n(values[g.logits].row(i), g.n_vocab, args.logits + uint64_t{i} * g.n_vocab);
    }
  }
};

uint64_t kv_page_bytes(const Graph& g) {
  for (const Node& n : g.body)
    if (n.op == Op::attention)
      return uint64_t{g.n_layers} * 2 * rt::kPagePositions *
             static_cast<uint64_t>(n.integer("n_kv_heads") * n.integer("head_dim")) * sizeof(float);
  fail("interpreter: the layer has no attention");
}

}  // namespace

Interpreter::Interpreter(const Graph& graph, const Checkpoint& checkpoint, uint64_t plan_hash)
    : graph_(graph), code_{} {
  for (const Weight& w : graph.weights) {
    std::vector<Tensor>& of_weight = tensors_.emplace_back();
    for (uint32_t l = 0; l < w.types.size(); ++l) of_weight.push_back(weight_tensor(checkpoint, w, l));
  }
  code_.abi = rt::kModelCodeAbi;
  code_.plan_hash = plan_hash;
  code_.n_layers = graph.n_layers;
  code_.n_vocab = graph.n_vocab;
  code_.n_hidden = graph.n_hidden;
  code_.ctx_max = graph.ctx_max;
  code_.max_rows = 256;
  code_.max_out_rows = 16;
  code_.logits_stride = graph.n_vocab;
  code_.kv_page_bytes = kv_page_bytes(graph);
  code_.arena_bytes = code_.scratch_bytes = 64;
  code_.level = "interpreter";
  code_.missing_cpu_feature = []() -> const char* { return nullptr; };
  code_.step = [](const rt::ModelCode* self, const rt::StepArgs* args, uint32_t worker) {
    if (worker == 0) static_cast<const Interpreter*>(self->context)->step(*args);
  };
  code_.context = this;
}

void Interpreter::step(const rt::StepArgs& args) const { Run{graph_, tensors_, args, {}}.run(); }

}  // namespace forge
