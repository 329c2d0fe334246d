// The CPU kernels alone: bytes of weights a second where memory limits them, operations a second where not.
//
//     bench_kernels --benchmark_filter='linear<Q8_0>'
//
// "M:1" streams over weights beyond any cache, as decoding does: compare with read_memory of as many threads.
// "M:8" and "M:256" stay in one matrix of a small model's size, as prefill does. "prompt" is linear in bf16 tiles.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "codegen/cpu/kernels/kernels.h"
#include "toolchain/cpu_level.h"

namespace {
using namespace forge::kernels;

constexpr uint64_t kStreamBytes = 256000000;  // beyond any cache
constexpr uint32_t kColumns = 1536;           // a multiple of 256: every type applies
constexpr uint32_t kOutputs = 1536;           // of the matrix that stays in cache
constexpr uint32_t kMaxRows = 256;            // of one step

struct Free {
  void operator()(uint8_t* p) const { std::free(p); }
};
using Bytes = std::unique_ptr<uint8_t[], Free>;

// Bytes from 0x20 to 0x3b: whatever type reads them finds normal numbers below one.
Bytes some_bytes(uint64_t n) {
  Bytes bytes(static_cast<uint8_t*>(std::aligned_alloc(4096, (n + 4095) / 4096 * 4096)));
  uint32_t state = 1;
  for (uint64_t i = 0; i < n; ++i) {
    state = state * 1664525 + 1013904223;
    bytes[i] = static_cast<uint8_t>(0x20 + (state >> 24) % 0x1c);
  }
  return bytes;
}

// One buffer for all benchmarks that stream.
const uint8_t* stream() {
  static const Bytes bytes = some_bytes(kStreamBytes);
  return bytes.get();
}

std::vector<float> some_floats(uint64_t n) {
  std::vector<float> x(n);
  for (uint64_t i = 0; i < n; ++i) x[i] = static_cast<float>((i * 2654435761u) % 2001) / 1000.0F - 1.0F;
  return x;
}

// Activations of `rows` rows in the form the type takes.
template <class F, uint32_t K>
struct Inputs {
  std::vector<float> f32;
  std::vector<Q8Row<K>> q8;

  explicit Inputs(uint32_t rows) : f32(some_floats(static_cast<uint64_t>(rows) * K)), q8(rows) {
    for (uint32_t r = 0; r < rows; ++r)
      put_row<K>(f32.data() + static_cast<uint64_t>(r) * K, nullptr, &q8[r]);
  }
  Activation<K> activation() const { return {q8.data(), f32.data(), K}; }
};

Range share(const benchmark::State& state, uint32_t n) {
  const auto threads = static_cast<uint32_t>(state.threads()),
             index = static_cast<uint32_t>(state.thread_index());
  return {n * index / threads, n * (index + 1) / threads};
}

template <class F>
void linear_stream(benchmark::State& state) {
  constexpr auto groups = static_cast<uint32_t>(kStreamBytes / kGroupBytes<F, kColumns>);
  const uint8_t* weights = stream();
  const Inputs<F, kColumns> x(1);
  const Range mine = share(state, groups);
  std::vector<float> out(16ULL * groups);
  while (state.KeepRunning()) {
    linear<F, kColumns>(mine, {0, 1}, weights, x.activation(), {out.data(), 16 * groups});
    benchmark::DoNotOptimize(out.data());
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(
      static_cast<int64_t>(state.iterations() * (mine.end - mine.begin) * kGroupBytes<F, kColumns>));
}

template <class F>
void linear_rows(benchmark::State& state) {
  const auto rows = static_cast<uint32_t>(state.range(0));
  const Bytes weights = some_bytes(kOutputs / 16 * kGroupBytes<F, kColumns>);
  const Inputs<F, kColumns> x(rows);
  const Range mine = share(state, kOutputs / 16);
  std::vector<float> out(static_cast<uint64_t>(rows) * kOutputs);
  while (state.KeepRunning()) {
    linear<F, kColumns>(mine, {0, rows}, weights.get(), x.activation(), {out.data(), kOutputs});
    benchmark::DoNotOptimize(out.data());
    benchmark::ClobberMemory();
  }
  const double ops = 2.0 * rows * kColumns * 16 * (mine.end - mine.begin);
  state.counters["ops"] =
      benchmark::Counter(ops * static_cast<double>(state.iterations()), benchmark::Counter::kIsRate);
}

#if defined(__AMX_BF16__)
// A prompt's rows on the matrix unit.
template <class F, uint32_t K>
void prompt_rows(benchmark::State& state) {
  const auto rows = static_cast<uint32_t>(state.range(0));
  const Bytes weights = some_bytes(kOutputs / 16 * kGroupBytes<F, K>);
  const std::vector<float> x = some_floats(static_cast<uint64_t>(rows) * K);
  std::vector<Bf16Rows<K>> bf16((rows + kTileRows - 1) / kTileRows);
  const std::vector<forge::rt::RowClass> classes(rows, forge::rt::RowClass::prompt);
  for (uint32_t r = 0; r < rows; ++r)
    put_row<K>(x.data() + static_cast<uint64_t>(r) * K, nullptr, nullptr,
               bf16[r / kTileRows].tile[0][r % kTileRows]);
  std::vector<float> out(static_cast<uint64_t>(rows) * kOutputs);
  while (state.KeepRunning()) {
    linear<F, K>({0, kOutputs / 16}, {0, rows}, weights.get(),
                 Activation<K, true>{nullptr, nullptr, 0, bf16.data(), classes.data()},
                 {out.data(), kOutputs});
    benchmark::DoNotOptimize(out.data());
    benchmark::ClobberMemory();
  }
  state.counters["ops"] = benchmark::Counter(
      2.0 * rows * K * kOutputs * static_cast<double>(state.iterations()), benchmark::Counter::kIsRate);
}

// The unit's limit, from the nearest cache.
void bf16_tiles(benchmark::State& state) {
  constexpr uint32_t K = 128;
  const auto rows = std::make_unique<std::array<Bf16Rows<K>, 2>>();
  const auto panels = std::make_unique<std::array<Bf16Panel<K>, 2>>();
  alignas(64) PairSums sums[2];
  auto nothing = []<uint32_t>() {};
  configure_bf16_tiles();
  while (state.KeepRunning()) {
    tile_products<2, false>(rows->data(), 0, K / 32, (*panels)[0].tile, (*panels)[1].tile, sums, nothing);
    benchmark::ClobberMemory();
  }
  release_bf16_tiles();
  state.counters["ops"] = benchmark::Counter(2.0 * 32 * 32 * K * static_cast<double>(state.iterations()),
                                             benchmark::Counter::kIsRate);
}
#endif

void read_memory(benchmark::State& state) {
  const uint8_t* bytes = stream();
  const Range mine = share(state, kStreamBytes / 512);
  while (state.KeepRunning()) {
    i32x16 sum[8] = {};
    for (uint64_t i = mine.begin; i < mine.end; ++i)
      for (uint64_t j = 0; j < 8; ++j) sum[j] += load<i32x16>(bytes + 512 * i + 64 * j);
    benchmark::DoNotOptimize(sum);
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * (mine.end - mine.begin) * 512));
}

void quantize(benchmark::State& state) {
  const std::vector<float> x = some_floats(kColumns);
  Q8Row<kColumns> out;
  while (state.KeepRunning()) {
    put_row<kColumns>(x.data(), nullptr, &out);
    benchmark::DoNotOptimize(&out);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * kColumns));
}

void rms_norm(benchmark::State& state) {
  const std::vector<float> x = some_floats(kColumns), gain = some_floats(kColumns);
  Q8Row<kColumns> out;
  while (state.KeepRunning()) {
    rms_norm_row<kColumns, F32>(x.data(), reinterpret_cast<const uint8_t*>(gain.data()), 1e-5F, nullptr,
                                &out);
    benchmark::DoNotOptimize(&out);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * kColumns));
}

void silu_mul(benchmark::State& state) {
  const std::vector<float> gate = some_floats(kColumns), up = some_floats(kColumns);
  std::vector<float> out(kColumns);
  while (state.KeepRunning()) {
    elementwise<kColumns>({0, 1}, gate.data(), up.data(), out.data(),
                          [](f32x16 g, f32x16 u) { return silu(g) * u; });
    benchmark::DoNotOptimize(out.data());
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * kColumns));
}

struct Shape {  // of SmolLM2-135M
  static constexpr uint32_t n_heads = 9, n_kv_heads = 3, head_dim = 64;
  static constexpr bool neox = false, kv_q8 = false;
#if defined(__AMX_BF16__)
  static constexpr bool bf16_prompts = true;
#else
  static constexpr bool bf16_prompts = false;
#endif
};
constexpr uint32_t kContext = 8192, kWidth = Shape::n_heads * Shape::head_dim,
                   kKvWidth = Shape::n_kv_heads * Shape::head_dim;

// The last `rows` of `depth` positions of one sequence, with a cache of one layer.
struct Conversation {
  static constexpr uint64_t kPageBytes = KvLayout<Shape>::kLayerBytes;
  uint32_t n_pages;
  Bytes pool;
  std::vector<uint32_t> pages, sequence;
  std::vector<int32_t> positions;
  std::vector<forge::rt::RowClass> classes;
  const uint32_t* table;
  StepArgs args;

  Conversation(uint32_t depth, uint32_t rows)
      : n_pages((depth + kPage - 1) / kPage),
        pool(some_bytes(n_pages * kPageBytes)),
        pages(n_pages),
        sequence(rows, 0),
        positions(rows),
        classes(rows, forge::rt::RowClass::prompt),
        table(pages.data()) {
    std::iota(pages.begin(), pages.end(), 0U);
    std::iota(positions.begin(), positions.end(), static_cast<int32_t>(depth - rows));
    args.n_rows = rows;
    args.positions = positions.data();
    args.row_sequence = sequence.data();
    args.row_class = classes.data();
    args.page_tables = &table;
    args.kv_pool = pool.get();
  }
  Conversation(const Conversation&) = delete;
};

void rope(benchmark::State& state) {
  const Conversation c(kMaxRows, kMaxRows);
  const Worker worker{c.args, 0};
  const Range rows = everything(kMaxRows);
  constexpr uint32_t n_rot = Shape::head_dim;
  const std::vector<double> frequency(n_rot / 2, 0.1);
  const std::vector<float> q = some_floats(1ULL * kMaxRows * kWidth),
                           kv = some_floats(1ULL * kMaxRows * kKvWidth);
  std::vector<float> angles(1ULL * kMaxRows * n_rot), out(q.size());
  rope_angles(worker, rows, frequency.data(), n_rot / 2, 1.0F, angles.data(), n_rot);
  while (state.KeepRunning()) {
    rope_kv<Shape, n_rot>(worker, rows, everything(Shape::n_kv_heads), Conversation::kPageBytes, 0,
                          angles.data(), n_rot, q.data(), kv.data(), kv.data(), kWidth, kKvWidth, out.data());
    benchmark::DoNotOptimize(out.data());
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * q.size()));
}

// "ops" counts two multiply-adds for each query, position and dimension; a lone row's bytes are the keys and
// values that it reads.
void attention(benchmark::State& state) {
  const auto depth = static_cast<uint32_t>(state.range(0)), rows = static_cast<uint32_t>(state.range(1));
  const Conversation c(depth, rows);
  const Worker worker{c.args, 0};
  const std::vector<float> q = some_floats(1ULL * rows * kWidth);
  std::vector<float> out(q.size()), scores(kScoreFloats<kContext>);
  const Scoring scoring{.scale = 0.125F};
  while (state.KeepRunning()) {
    if (rows == 1)
      attention_heads<Shape, kContext>(worker, everything(Shape::n_kv_heads), Conversation::kPageBytes, 0,
                                       scoring, q.data(), out.data(), kWidth, scores.data());
    else
      attention_blocks<Shape, kContext>(worker, 0, Conversation::kPageBytes, 0, scoring, q.data(), out.data(),
                                        kWidth, scores.data());
    benchmark::DoNotOptimize(out.data());
    benchmark::ClobberMemory();
  }
  double seen = 0;
  for (const int32_t p : c.positions) seen += p + 1;
  const auto n = static_cast<double>(state.iterations());
  state.counters["ops"] = benchmark::Counter(4.0 * seen * kWidth * n, benchmark::Counter::kIsRate);
  if (rows == 1)
    state.SetBytesProcessed(
        static_cast<int64_t>(state.iterations() * depth * kKvWidth * 2 * sizeof(_Float16)));
}

template <class F>
void register_linear(const std::string& type, int threads) {
  const std::string name = "linear<" + type + ">";
  for (int t = 1; t <= threads; t += threads > 1 ? threads - 1 : 1)
    benchmark::RegisterBenchmark((name + "/M:1").c_str(), linear_stream<F>)->Threads(t)->UseRealTime();
  benchmark::RegisterBenchmark(name.c_str(), linear_rows<F>)->ArgName("M")->Arg(8)->Arg(kMaxRows);
}

#if defined(__AMX_BF16__)
template <class F, uint32_t K>
void register_prompt(const std::string& type) {
  const std::string name = "prompt<" + type + "," + std::to_string(K) + ">";
  benchmark::RegisterBenchmark(name.c_str(), prompt_rows<F, K>)
      ->ArgName("M")
      ->Arg(16)
      ->Arg(64)
      ->Arg(kMaxRows)
      ->Arg(2 * kMaxRows);
}
#endif

// Registered before main starts, which the library has.
const bool registered = [] {
  const int threads = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  for (int t = 1; t <= threads; t += threads > 1 ? threads - 1 : 1)
    benchmark::RegisterBenchmark("read_memory", read_memory)->Threads(t)->UseRealTime();
  register_linear<Q8_0>("Q8_0", threads);
  register_linear<Q4_0>("Q4_0", threads);
  register_linear<Q4_1>("Q4_1", threads);
  register_linear<Q5_0>("Q5_0", threads);
  register_linear<Q5_1>("Q5_1", threads);
  register_linear<Q4_K>("Q4_K", threads);
  register_linear<Q5_K>("Q5_K", threads);
  register_linear<Q6_K>("Q6_K", threads);
  register_linear<Q2_K>("Q2_K", threads);
  register_linear<Q3_K>("Q3_K", threads);
  register_linear<IQ2_XXS>("IQ2_XXS", threads);
  register_linear<IQ2_XS>("IQ2_XS", threads);
  register_linear<IQ3_XXS>("IQ3_XXS", threads);
  register_linear<IQ1_S>("IQ1_S", threads);
  register_linear<IQ4_NL>("IQ4_NL", threads);
  register_linear<IQ3_S>("IQ3_S", threads);
  register_linear<IQ2_S>("IQ2_S", threads);
  register_linear<IQ4_XS>("IQ4_XS", threads);
  register_linear<IQ1_M>("IQ1_M", threads);
  register_linear<TQ1_0>("TQ1_0", threads);
  register_linear<TQ2_0>("TQ2_0", threads);
  register_linear<MXFP4>("MXFP4", threads);
  register_linear<F32>("F32", threads);
  register_linear<F16>("F16", threads);
  register_linear<BF16>("BF16", threads);
#if defined(__AMX_BF16__)
  benchmark::RegisterBenchmark("bf16_tiles", bf16_tiles);
  register_prompt<Q8_0, 576>("Q8_0");
  register_prompt<Q8_0, kColumns>("Q8_0");
  register_prompt<Q8_0, 8192>("Q8_0");
  register_prompt<Q4_0, kColumns>("Q4_0");
  register_prompt<Q4_K, kColumns>("Q4_K");
  register_prompt<Q6_K, kColumns>("Q6_K");
#endif
  benchmark::RegisterBenchmark("quantize", quantize);
  benchmark::RegisterBenchmark("rms_norm", rms_norm);
  benchmark::RegisterBenchmark("silu_mul", silu_mul);
  benchmark::RegisterBenchmark("rope", rope);
  benchmark::RegisterBenchmark("attention", attention)
      ->ArgNames({"depth", "rows"})
      ->ArgsProduct({{512, 4096}, {1, kMaxRows}});
  return true;
}();

}  // namespace

int main(int argc, char** argv) {
  (void)forge::native_cpu_level();  // asks Linux for what the level needs
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
