// Attention, row by row and in blocks, and what it does with a NaN.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "interp/scalar_math.h"
#include "quant/half.h"
#include "tests/codegen/kernels_test.h"

namespace forge::test {
namespace {

constexpr uint32_t kContext = 130;  // three pages

struct Rule {
  uint32_t window;  // 0: none
  float softcap;
};
constexpr Rule kRules[] = {{0, 0}, {7, 0}, {50, 3.0F}};

// Inputs of kContext rows of one sequence and what scalar loops make of them. A row's result depends on the
// rows before it alone, so one reference serves every cut of the rows into steps.
struct AttentionCase {
  const AttentionKernel& shape;
  Rule rule;
  uint32_t q_cols, kv_cols, q_stride, kv_stride;
  float scale;
  std::vector<float> q, k, v, angles, rotated, expected, in_bf16;

  AttentionCase(const AttentionKernel& s, const Rule& r)
      : shape(s),
        rule(r),
        q_cols(s.n_heads * s.head_dim),
        kv_cols(s.n_kv_heads * s.head_dim),
        q_stride(pad16(q_cols)),
        kv_stride(pad16(kv_cols)),
        scale(1.0F / std::sqrt(static_cast<float>(s.head_dim))),
        q(normal(size_t{kContext} * q_stride, 70, 2)),
        k(normal(size_t{kContext} * kv_stride, 71, 2)),
        v(normal(size_t{kContext} * kv_stride, 72)),
        angles(size_t{kContext} * std::max(1U, s.n_rot)),
        rotated(q.size()),
        expected(q.size()),
        in_bf16(q.size()) {
    // Beyond float16: held at its ends.
    k[33 * kv_stride + 1] = -1e6F;
    for (uint32_t i = 0; i < kv_cols; ++i) v[40 * kv_stride + i] = i % 2 ? 1e9F : -7e4F;
    const uint32_t dim = s.head_dim, half = s.n_rot / 2;
    std::vector<float> keys(size_t{kContext} * kv_cols), values(keys.size());
    for (uint32_t row = 0; row < kContext; ++row) {
      for (uint32_t i = 0; i < half; ++i) {
        const double angle = row * std::pow(10000.0, -2.0 * i / s.n_rot);
        angles[row * s.n_rot + i] = static_cast<float>(std::cos(angle));
        angles[row * s.n_rot + half + i] = static_cast<float>(std::sin(angle));
      }
      for (uint32_t h = 0; h < s.n_heads; ++h)
        rotate(&q[row * q_stride + h * dim], &angles[row * s.n_rot], &rotated[row * q_stride + h * dim]);
      std::vector<float> key(dim);
      for (uint32_t h = 0; h < s.n_kv_heads; ++h) {
        rotate(&k[row * kv_stride + h * dim], &angles[row * s.n_rot], key.data());
        to_cache(key.data(), &keys[row * kv_cols + h * dim]);
        to_cache(&v[row * kv_stride + h * dim], &values[row * kv_cols + h * dim]);
      }
      for (uint32_t h = 0; h < s.n_heads; ++h) {
        attend(row, h, keys, values);
        attend_in_bf16(row, h, keys, values);
      }
    }
  }

  static float as_cached(float x) { return half_to_float(float_to_half(std::clamp(x, -65504.0F, 65504.0F))); }

  // A head as the cache gives it back.
  void to_cache(const float* x, float* out) const {
    for (uint32_t begin = 0; begin < shape.head_dim; begin += 32) {
      const uint32_t end = std::min(begin + 32, shape.head_dim);
      float top = 0;
      for (uint32_t d = begin; d < end; ++d) top = std::max(top, std::fabs(x[d]));
      const float step = as_cached(top / 127);
      for (uint32_t d = begin; d < end; ++d)
        out[d] = shape.kv_q8 ? std::clamp(std::nearbyint(x[d] * (1 / step)), -127.0F, 127.0F) * step
                             : as_cached(x[d]);
    }
  }

  void rotate(const float* x, const float* row_angles, float* out) const {
    std::copy_n(x, shape.head_dim, out);
    const uint32_t half = shape.n_rot / 2;
    for (uint32_t i = 0; i < half; ++i) {
      const uint32_t a = shape.neox ? i : 2 * i, b = shape.neox ? i + half : 2 * i + 1;
      const float c = row_angles[i], s = row_angles[half + i];
      out[a] = std::fmaf(x[a], c, -(x[b] * s));
      out[b] = std::fmaf(x[a], s, x[b] * c);
    }
  }

  void attend(uint32_t r, uint32_t h, const std::vector<float>& keys, const std::vector<float>& values) {
    const uint32_t dim = shape.head_dim, kv = h / (shape.n_heads / shape.n_kv_heads) * dim;
    std::vector<float> p(r + 1);
    float top = -std::numeric_limits<float>::infinity();
    const uint32_t first = rule.window != 0 && r + 1 > rule.window ? r + 1 - rule.window : 0;
    for (uint32_t i = first; i <= r; ++i) {
      float s = 0;
      for (uint32_t d = 0; d < dim; ++d)
        s = std::fmaf(rotated[r * q_stride + h * dim + d], keys[i * kv_cols + kv + d], s);
      p[i] = rule.softcap != 0 ? kernel_softcap(s * scale, rule.softcap) : s * scale;
      top = std::max(top, p[i]);
    }
    LaneSum sum;
    for (uint32_t i = first; i <= r; ++i) {
      p[i] = kernel_exp(p[i] - top);
      sum.lane[i % 16] += p[i];
    }
    const float inverse = 1.0F / sum.total();
    for (uint32_t d = 0; d < dim; ++d) {
      float y = 0;
      for (uint32_t i = first; i <= r; ++i) y = std::fmaf(p[i], values[i * kv_cols + kv + d], y);
      expected[r * q_stride + h * dim + d] = y * inverse;
    }
  }

  // As attention_blocks.h describes it.
  void attend_in_bf16(uint32_t r, uint32_t h, const std::vector<float>& keys,
                      const std::vector<float>& values) {
    const uint32_t dim = shape.head_dim, kv = h / (shape.n_heads / shape.n_kv_heads) * dim;
    const uint32_t first = rule.window != 0 && r + 1 > rule.window ? r + 1 - rule.window : 0;
    const float* query = &rotated[r * q_stride + h * dim];
    float* out = &in_bf16[r * q_stride + h * dim];
    float top = -3e38F;
    LaneSum total;
    for (uint32_t page = first / 64 * 64; page <= r; page += 64) {
      const uint32_t begin = std::max(page, first), end = std::min(page + 64, r + 1);
      std::array<float, 64> p{};
      const float before = top;
      for (uint32_t i = begin; i < end; ++i) {
        const float q_scale = rule.softcap != 0 ? scale : scale * kLog2E;
        const float s = bf16_sum(0, dim, [&](size_t d) {
          return std::pair(round_to_bf16(query[d] * q_scale), round_to_bf16(keys[i * kv_cols + kv + d]));
        });
        p[i - page] = rule.softcap != 0 ? kernel_softcap(s, rule.softcap) * kLog2E : s;
        top = std::max(top, p[i - page]);
      }
      const float factor = kernel_exp2_of_negative(before - top);
      for (float& lane : total.lane) lane *= factor;
      for (uint32_t i = begin; i < end; ++i) {
        p[i - page] = kernel_exp2_of_negative(p[i - page] - top);
        total.lane[i % 16] += p[i - page];
      }
      for (uint32_t d = 0; d < dim; ++d)
        out[d] = bf16_sum(out[d] * factor, 64, [&](size_t i) {
          const bool seen = page + i >= begin && page + i < end;
          return std::pair(round_to_bf16(p[i]),
                           seen ? round_to_bf16(values[(page + i) * kv_cols + kv + d]) : 0.0F);
        });
    }
    const float inverse = 1.0F / total.total();
    for (uint32_t d = 0; d < dim; ++d) out[d] *= inverse;
  }
};

const AttentionCase& attention_case(uint32_t index, size_t rule) {
  static std::map<std::pair<uint32_t, size_t>, AttentionCase> cases;
  return cases.try_emplace({index, rule}, generic::kRows.attention.data[index], kRules[rule]).first->second;
}

void expect_columns(const float* actual, const float* expected, uint32_t n_rows, uint32_t cols,
                    uint32_t stride, const std::string& what) {
  for (uint32_t r = 0; r < n_rows; ++r)
    expect_bits(actual + r * stride, expected + r * stride, cols, what + ", row " + std::to_string(r));
}

TEST_P(Kernels, RopeKvAndAttention) {
  for (uint32_t k = 0; k < level_.rows.attention.size * std::size(kRules); ++k) {
    const uint32_t index = k / std::size(kRules);
    const AttentionCase& c = attention_case(index, k % std::size(kRules));
    const AttentionKernel& kernel = level_.rows.attention.data[index];
    // Two layers in a page, the second is used; pages out of order; nothing cleared.
    const uint64_t page_bytes = 2 * kernel.layer_bytes;
    Aligned<uint8_t> pool(5 * page_bytes);
    const std::vector<uint32_t> pages = {3, 0, 4};
    const uint32_t* const tables[] = {pages.data()};
    Aligned<float> scores(kernel.score_floats);
    // Steps that end at contexts around the tiles of 16 positions and the pages of 64.
    uint32_t begin = 0;
    for (const uint32_t end : {1U, 15U, 16U, 17U, 63U, 64U, 65U, 128U, 129U, kContext}) {
      const uint32_t n = end - begin;
      const std::string what = level_.name + ", " + std::to_string(c.shape.n_heads) + " heads of " +
                               std::to_string(c.shape.head_dim) + (c.shape.kv_q8 ? " in q8_0" : "") +
                               ", window " + std::to_string(c.rule.window) + ", positions " +
                               std::to_string(begin) + " to " + std::to_string(end);
      std::vector<int32_t> positions(n);
      for (uint32_t i = 0; i < n; ++i) positions[i] = static_cast<int32_t>(begin + i);
      const std::vector<uint32_t> sequence(n, 0);
      rt::StepArgs args;
      args.n_rows = n;
      args.positions = positions.data();
      args.row_sequence = sequence.data();
      args.page_tables = tables;
      args.kv_pool = pool.data;
      Aligned<float> rotated(n * c.q_stride), by_heads(n * c.q_stride), by_blocks(n * c.q_stride),
          mixed(n * c.q_stride), deep(n * c.q_stride),
          head_scores(uint64_t{n} * c.shape.n_heads * kAttentionContext);
      AttentionCall call = {.args = args,
                            .worker = 0,
                            .head_begin = 0,
                            .head_end = 1,
                            .page_bytes = page_bytes,
                            .layer_offset = kernel.layer_bytes,
                            .angles = &c.angles[begin * c.shape.n_rot],
                            .q = &c.q[begin * c.q_stride],
                            .k = &c.k[begin * c.kv_stride],
                            .v = &c.v[begin * c.kv_stride],
                            .q_stride = c.q_stride,
                            .kv_stride = c.kv_stride,
                            .scale = c.scale,
                            .softcap = c.rule.softcap,
                            .window = c.rule.window,
                            .out = rotated.data,
                            .scores = scores.data,
                            .head_scores = head_scores.data};
      kernel.rope_kv(call);
      call.head_begin = 1;
      call.head_end = c.shape.n_kv_heads;
      kernel.rope_kv(call);
      expect_columns(rotated.data, &c.rotated[begin * c.q_stride], n, c.q_cols, c.q_stride,
                     what + ", rotated");

      call.q = rotated.data;
      call.out = by_heads.data;
      kernel.heads(call);
      call.head_begin = 0;
      call.head_end = 1;
      kernel.heads(call);
      expect_columns(by_heads.data, &c.expected[begin * c.q_stride], n, c.q_cols, c.q_stride, what);
      call.out = by_blocks.data;
      args.n_workers = 3;
      rt::Barrier barrier;
      args.barrier = &barrier;
      const auto run_dealt = [&](void (*blocks)(const AttentionCall&)) {
        barrier.dealt[0] = 0;
        std::vector<std::jthread> workers;
        workers.reserve(args.n_workers);
        for (uint32_t worker = 0; worker < args.n_workers; ++worker)
          workers.emplace_back([&, worker, mine = call]() mutable {
            const Aligned<float> own_scores(kernel.score_floats);
            mine.worker = worker;
            mine.scores = own_scores.data;
            blocks(mine);
          });
      };
      run_dealt(kernel.blocks);
      expect_columns(by_blocks.data, &c.expected[begin * c.q_stride], n, c.q_cols, c.q_stride,
                     what + ", in blocks");
      // Prompts in bf16, and a generated row where one stood.
      std::vector<rt::RowClass> classes(n, rt::RowClass::prompt);
      for (uint32_t i = 0; i < n; ++i)
        if ((begin + i) % 29 == 5 || end == 64) classes[i] = rt::RowClass::generated;
      args.row_class = classes.data();
      call.out = mixed.data;
      run_dealt(kernel.mixed_blocks);
      for (uint32_t i = 0; i < n; ++i)
        expect_bits(mixed.data + i * c.q_stride,
                    &(classes[i] == rt::RowClass::prompt ? c.in_bf16 : c.expected)[(begin + i) * c.q_stride],
                    c.q_cols, what + ", in bf16, row " + std::to_string(i));
      call.out = deep.data;
      for (const auto run : {kernel.deep_scores, kernel.deep_values})
        for (const uint32_t worker : {2U, 0U, 1U}) {
          call.worker = worker;
          run(call);
        }
      expect_columns(deep.data, &c.expected[begin * c.q_stride], n, c.q_cols, c.q_stride, what + ", deep");
      if (testing::Test::HasFatalFailure()) return;
      begin = end;
    }
    // The other layer and the pages of nobody are untouched.
    for (uint32_t page = 0; page < 5; ++page) {
      const bool used = std::ranges::find(pages, page) != pages.end();
      const uint8_t* from = pool.data + page * page_bytes;
      const uint64_t bytes = used ? kernel.layer_bytes : page_bytes;
      EXPECT_TRUE(std::all_of(from, from + bytes, [](uint8_t b) { return b == 0xFF; })) << "page " << page;
    }
  }
}

// A NaN among the values, which int8 does not have, stays one in whatever form the cache keeps it.
TEST_P(Kernels, NanInTheCacheIsSeen) {
  for (const AttentionKernel& kernel : level_.rows.attention) {
    const uint32_t q_stride = pad16(kernel.n_heads * kernel.head_dim),
                   kv_stride = pad16(kernel.n_kv_heads * kernel.head_dim);
    const std::vector<float> q = normal(2 * q_stride, 73), angles(2 * std::max(1U, kernel.n_rot), 0.5F);
    const std::vector<float> k = normal(2 * kv_stride, 74);
    std::vector<float> v = normal(2 * kv_stride, 75);
    v[0] = kNaN;
    Aligned<uint8_t> pool(kernel.layer_bytes);
    Aligned<float> scores(kernel.score_floats), rotated(2 * q_stride), out(2 * q_stride);
    const uint32_t page = 0;
    const uint32_t* const table = &page;
    const std::vector<int32_t> positions = {0, 1};
    const std::vector<uint32_t> sequence = {0, 0};
    rt::StepArgs args;
    args.n_rows = 2;
    args.positions = positions.data();
    args.row_sequence = sequence.data();
    args.page_tables = &table;
    args.kv_pool = pool.data;
    AttentionCall call = {.args = args,
                          .worker = 0,
                          .head_begin = 0,
                          .head_end = kernel.n_kv_heads,
                          .page_bytes = kernel.layer_bytes,
                          .layer_offset = 0,
                          .angles = angles.data(),
                          .q = q.data(),
                          .k = k.data(),
                          .v = v.data(),
                          .q_stride = q_stride,
                          .kv_stride = kv_stride,
                          .scale = 1,
                          .softcap = 0,
                          .window = 0,
                          .out = rotated.data,
                          .scores = scores.data,
                          .head_scores = nullptr};
    kernel.rope_kv(call);
    call.q = rotated.data;
    call.out = out.data;
    kernel.heads(call);
    const std::string what =
        level_.name + ", heads of " + std::to_string(kernel.head_dim) + (kernel.kv_q8 ? " in q8_0" : "");
    EXPECT_TRUE(std::isnan(out.data[0]) && std::isnan(out.data[q_stride])) << what;

    // In the tile of a prompt only the row that sees it has it.
    v[0] = 1;
    v[kv_stride] = kNaN;
    call.q = q.data();
    call.out = rotated.data;
    kernel.rope_kv(call);
    const std::vector<rt::RowClass> classes(2, rt::RowClass::prompt);
    args.row_class = classes.data();
    call.q = rotated.data;
    call.out = out.data;
    kernel.mixed_blocks(call);
    EXPECT_TRUE(std::isfinite(out.data[0]) && std::isnan(out.data[q_stride])) << what;
  }
}

}  // namespace
}  // namespace forge::test
