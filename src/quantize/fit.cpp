#include "quantize/fit.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <map>

#include "core/error.h"
#include "quantize/parallel.h"
#include "quantize/quantize.h"

namespace forge {
namespace {

constexpr size_t kSampledRows = 48;

// In the order of their bits. Those that a recipe would take for matrices: no float16 alternatives to Q8_0 are
// offered, since its error is far below that of what computes with it.
constexpr std::array kCandidates = {DType::q2_k, DType::q3_k, DType::iq4_xs, DType::q4_k,
                                    DType::q5_k, DType::q6_k, DType::q8_0};

// How much a given relative error of a matrix hurts, by class: KL divergence of the bundled model per relative squared
// error with the matrices of that class alone in Q4_0 (bench/quantization.py; docs/quantization.md), over that of the
// mean. Queries and keys err before a softmax that is mostly decided; values go straight into the residual stream.
struct Sensitivity {
  std::string_view tensor_class;
  double value;
};
constexpr std::array<Sensitivity, 6> kSensitivity = {{{"attn_q", 0.2},
                                                      {"attn_k", 0.2},
                                                      {"attn_v", 2.5},
                                                      {"attn_output", 1.5},
                                                      {"token_embd", 3.5},
                                                      {"output", 3.5}}};

double sensitivity(std::string_view name) {
  const auto* const it = std::ranges::find(kSensitivity, tensor_class(name), &Sensitivity::tensor_class);
  return it == kSensitivity.end() ? 1.0 : it->value;
}

struct Choice {
  DType wanted;  // before rows that don't fit it
  uint64_t bytes = 0;
  double damage = 0;
};

// Tensors that get one type together.
struct Unit {
  std::vector<size_t> tensors;
  std::vector<Choice> choices;  // on the convex hull: ascending bytes, falling damage, falling slope
  size_t chosen = 0;
};

uint64_t tensor_bytes(const Tensor& tensor, DType type) {
  return static_cast<uint64_t>(tensor.rows()) * row_bytes(type, static_cast<size_t>(tensor.cols()));
}

// What the next choice saves for each byte it takes.
double slope(const Choice& from, const Choice& to) {
  return (from.damage - to.damage) / static_cast<double>(to.bytes - from.bytes);
}

// Keeps the choices that are best for some price of a byte.
void keep_hull(std::vector<Choice>& choices) {
  std::ranges::sort(choices, {}, [](const Choice& c) { return std::pair(c.bytes, c.damage); });
  std::vector<Choice> hull;
  for (const Choice& c : choices) {
    if (!hull.empty() && (c.bytes == hull.back().bytes || c.damage >= hull.back().damage)) continue;
    while (hull.size() >= 2 && slope(hull[hull.size() - 2], hull.back()) <= slope(hull.back(), c))
      hull.pop_back();
    hull.push_back(c);
  }
  choices = std::move(hull);
}

std::string size_text(uint64_t bytes) { return fmt::format("{:.1f} MB", static_cast<double>(bytes) / 1e6); }

}  // namespace

Fit fit_types(const Checkpoint& checkpoint, uint64_t budget, std::span<const TensorType> overrides,
              const Importances* importances, unsigned n_threads) {
  // As the recipe of the floats leaves them: overridden, or not quantizable, or smaller already.
  Fit fit;
  const Recipe floats = {"fit", 0, DType::f32, DType::f32, DType::f32, {}};
  fit.types = choose_types(checkpoint, floats, overrides, nullptr);
  int64_t layers = 0;
  for (const Tensor& t : checkpoint.tensors) layers = std::max(layers, tensor_layer(t.name).value_or(-1) + 1);

  std::map<std::string, Unit> units;
  for (size_t i = 0; i < checkpoint.tensors.size(); ++i) {
    const Tensor& tensor = checkpoint.tensors[i];
    if (!is_quantizable(tensor) || find_override(tensor, overrides) != nullptr) {
      fit.bytes += tensor_bytes(tensor, fit.types[i]);
      continue;
    }
    const std::optional<int64_t> layer = tensor_layer(tensor.name);
    const bool outer = layer && (*layer < layers / 8 || *layer >= layers - layers / 8);
    units[fmt::format("{}{}", tensor_class(tensor.name), outer ? ", outer layers" : "")].tensors.push_back(i);
  }

  // All pairs of tensor and candidate, in parallel.
  struct Task {
    Unit* unit;
    size_t tensor, candidate;
    double damage = 0;
  };
  std::vector<Task> tasks;
  for (auto& [name, unit] : units)
    for (const size_t tensor : unit.tensors)
      for (size_t c = 0; c < kCandidates.size(); ++c) tasks.push_back({&unit, tensor, c});
  // A tensor that is stored in few bits already can only lose them.
  const auto type_of = [&](const Task& task) {
    const Tensor& tensor = checkpoint.tensors[task.tensor];
    const DType type = fitting_type(kCandidates[task.candidate], tensor.cols());
    const bool larger = info(tensor.type).block_weights > 1 &&
                        tensor_bytes(tensor, type) >= tensor_bytes(tensor, tensor.type);
    return larger ? tensor.type : type;
  };
  in_parallel(tasks.size(), n_threads, [&](size_t i, unsigned) {
    const Tensor& tensor = checkpoint.tensors[tasks[i].tensor];
    const DType type = type_of(tasks[i]);
    if (type == tensor.type) return;
    const double rms = sample_error(checkpoint, tensor, type, kSampledRows, importances).relative_rms();
    tasks[i].damage = rms * rms * sensitivity(tensor.name);
  });
  for (auto& [name, unit] : units)
    for (const DType candidate : kCandidates) unit.choices.push_back({candidate});
  for (const Task& task : tasks) {
    Choice& choice = task.unit->choices[task.candidate];
    choice.bytes += tensor_bytes(checkpoint.tensors[task.tensor], type_of(task));
    choice.damage += task.damage;
  }

  // From the smallest on, always the step that saves most for its bytes: on convex hulls that is the best for the size
  // it reaches.
  for (auto& [name, unit] : units) {
    keep_hull(unit.choices);
    fit.bytes += unit.choices[0].bytes;
  }
  if (fit.bytes > budget)
    fail_usage(
        "{}: too large for that size: the tensors take {} in the smallest types, and {} are left for them",
        checkpoint.path, size_text(fit.bytes), size_text(budget));
  for (;;) {
    Unit* best = nullptr;
    double best_slope = 0;
    for (auto& [name, unit] : units) {
      if (unit.chosen + 1 == unit.choices.size()) continue;
      const Choice &now = unit.choices[unit.chosen], &next = unit.choices[unit.chosen + 1];
      if (fit.bytes + (next.bytes - now.bytes) > budget || slope(now, next) <= best_slope) continue;
      best = &unit;
      best_slope = slope(now, next);
    }
    if (best == nullptr) break;
    fit.bytes += best->choices[best->chosen + 1].bytes - best->choices[best->chosen].bytes;
    ++best->chosen;
  }

  for (const auto& [name, unit] : units) {
    const Choice& choice = unit.choices[unit.chosen];
    const size_t candidate =
        static_cast<size_t>(std::ranges::find(kCandidates, choice.wanted) - kCandidates.begin());
    for (const size_t tensor : unit.tensors) fit.types[tensor] = type_of({nullptr, tensor, candidate});
    fit.plan.push_back(fmt::format("{:<28}{:<8}{:>4} tensors {:>12}   damage {:.2e}", name,
                                   info(fit.types[unit.tensors[0]]).name, unit.tensors.size(),
                                   size_text(choice.bytes), choice.damage));
  }
  // A limit that nothing comes near surprises whoever expected floats to stay.
  if (!units.empty() && std::ranges::all_of(units, [](const auto& u) {
        return u.second.chosen + 1 == u.second.choices.size();
      }))
    fit.plan.push_back(fmt::format(
        "all in the best types that --fit chooses from, {} below the size; more bits: --type f16 instead",
        size_text(budget - fit.bytes)));
  return fit;
}

uint64_t parse_size(const std::string& text) {
  struct Suffix {
    std::string_view name;
    double factor;
  };
  constexpr std::array<Suffix, 10> kSuffixes = {{{"KiB", 1024.0},
                                                 {"MiB", 1048576.0},
                                                 {"GiB", 1073741824.0},
                                                 {"KB", 1e3},
                                                 {"MB", 1e6},
                                                 {"GB", 1e9},
                                                 {"K", 1e3},
                                                 {"M", 1e6},
                                                 {"G", 1e9},
                                                 {"", 1.0}}};
  for (const Suffix& suffix : kSuffixes) {
    if (!text.ends_with(suffix.name)) continue;
    double value = 0;
    const char* const end = text.data() + text.size() - suffix.name.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value, std::chars_format::fixed);
    const double bytes = value * suffix.factor;
    if (error == std::errc() && stop == end && bytes >= 1 && bytes < 1e15)
      return static_cast<uint64_t>(bytes);
    break;
  }
  fail_usage(
      "size {}: expected a number with KB, MB, GB, KiB, MiB or GiB behind it, as in 600MB, below 1000000 GB",
      text);
}

}  // namespace forge
