// `forge compile --tune`: which schedules a model's linears run fastest with, by measuring programs on this machine.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "codegen/compile.h"
#include "codegen/cpu/schedule.h"
#include "toolchain/compiler.h"

namespace forge {

// Seconds [candidate][round]; in a round all candidates run one after another, and candidate 0 is the one to beat.
using RoundSeconds = std::vector<std::vector<double>>;

// Of the candidates that were faster than candidate 0 in all rounds but one in eight, and by 3% in the median of the rounds'
// ratios, the one with the largest median; 0 where there is none. A neighbour who takes the processor for a while slows both:
// in nine rounds of mere noise a candidate passes at a chance of 2% at most.
size_t fastest(const RoundSeconds& seconds);

struct TuneMessages {
  std::function<void(uint64_t done, uint64_t total)> run;  // a program is run, behind `done` others
  std::function<void(std::string_view line)> note;
  Log log;  // may be null
};

// Throws a usage Error where programs of the target don't run here or are of several levels.
void check_tunable(const CpuTarget& target);

// The schedules of the model's linears, those with which nothing was gained left out: from the cache where the same
// compiler, kernels, processor and shapes were measured before, else by building and running programs of some schedules, and
// then one of what was fastest at each number of columns. Throws a usage Error where the context is too short to measure.
Schedules tune(const Compiler& compiler, const ForgeFiles& files, const CompiledModel& model,
               const CpuTarget& target, const TuneMessages& messages);

}  // namespace forge
