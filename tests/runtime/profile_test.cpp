// A run of two workers and two steps with times and counts that can be added up by hand.
#include "runtime/host/profile.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "tests/core/temporary_directory.h"

namespace forge::rt {
namespace {

constexpr StageInfo kStages[] = {
    {.kernel = "embed",
     .output = "x",
     .weights = "table",
     .types = "q8_0",
     .weight_bytes_per_row = 10,
     .wanted_from_layer = kAllRows},
    {.kernel = "linear",
     .output = "y",
     .weights = "a",
     .types = "q4_k",
     .weight_bytes = 1000,
     .operations_per_row = 7,
     .wanted_from_layer = kAllRows},
    {.kernel = "linear",
     .output = "y",
     .weights = "a",
     .types = "q6_k",
     .weight_bytes = 3000,
     .wanted_from_layer = kAllRows},
    {.kernel = "attention",
     .output = "z",
     .weights = "",
     .types = "",
     .kv_bytes_per_position = 2,
     .operations_per_position = 4,
     .window = 6,
     .wanted_from_layer = kAllRows},
    {.kernel = "linear",  // the same matrix in the other phase: one row with the first
     .output = "y",
     .weights = "a",
     .types = "q4_k",
     .weight_bytes = 1000,
     .operations_per_row = 7,
     .wanted_from_layer = -1},
};

// A tick is 10 ms.
StageRun a_run() {
  StageRun run;
  run.begin = 1000;
  run.end = 1100;
  run.seconds = 1;
  run.steps = {{.first_position = 4, .n_rows = 3, .n_out_rows = 0},
               {.first_position = 7, .n_rows = 1, .n_out_rows = 1}};
  run.workers = {{{1005, kOutsideStep, -1},
                  {1010, 0, -1},
                  {1020, 1, 0},
                  {1024, kWaiting, -1},
                  {1030, 2, 1},
                  {1040, 3, 1},
                  {1050, kOutsideStep, -1},
                  {1080, 4, 0},
                  {1100, kOutsideStep, -1}},
                 {{1015, kOutsideStep, -1},
                  {1020, 0, -1},
                  {1024, 1, 0},
                  {1026, kWaiting, -1},
                  {1030, 2, 1},
                  {1040, 3, 1},
                  {1050, kOutsideStep, -1},
                  {1100, 4, 0},
                  {1100, kOutsideStep, -1}}};
  return run;
}

TEST(Profile, SumsUpTimesBytesAndOperations) {
  const Profile p = sum_up(a_run(), kStages);
  ASSERT_EQ(p.rows.size(), 4U);
  const auto expect = [&](size_t row, const char* kernel, const char* weights, const char* types,
                          uint64_t calls, double ticks, double bytes, double operations) {
    const std::string name = text(kernel, " ", weights, " ", types);
    EXPECT_EQ(text(p.rows[row].kernel, " ", p.rows[row].weights, " ", p.rows[row].types), name);
    EXPECT_EQ(p.rows[row].n_calls, calls) << name;
    EXPECT_NEAR(p.rows[row].seconds, ticks / 2 / 100, 1e-12) << name;
    EXPECT_EQ(p.rows[row].bytes, bytes) << name;
    EXPECT_EQ(p.rows[row].operations, operations) << name;
  };
  expect(0, "embed", "table", "q8_0", 1, 5 + 5, 3 * 10, 0);
  expect(1, "linear", "a", "q4_k", 2, 10 + 4 + 30 + 50, 2000, 3 * 7 + 7);
  expect(2, "linear", "a", "q6_k", 1, 6 + 4, 3000, 0);
  // Rows at 4, 5, 6 see 5, 6 and (of 7) 6 positions; together all 7 of the cache.
  expect(3, "attention", "", "", 1, 10 + 10, 7 * 2, (5 + 6 + 6) * 4);
  EXPECT_NEAR(p.waiting_seconds, (4.0 + 2) / 200, 1e-12);
  EXPECT_NEAR(p.outside_seconds, (5.0 + 10 + 20 + 15 + 10 + 0) / 200, 1e-12);
  EXPECT_NEAR(p.seconds, 1, 1e-12);
}

TEST(Profile, AWindowHidesPositionsOfTheCache) {
  StageRun run = a_run();
  run.steps[0].first_position = 100;  // 5 positions before the first row, and the three rows
  const Profile p = sum_up(run, kStages);
  EXPECT_EQ(p.rows[3].bytes, (5 + 3) * 2);
  EXPECT_EQ(p.rows[3].operations, 3 * 6 * 4);
}

// The last rows of a step in the layers from 1 on: of the linear of layer 0 all, of attention in layer 1 one.
TEST(Profile, LastLayersHaveWantedRowsOnly) {
  std::vector<StageInfo> stages(std::begin(kStages), std::end(kStages));
  for (StageInfo& s : stages) s.wanted_from_layer = 1;
  StageRun run = a_run();
  run.steps[0].n_out_rows = 1;
  const Profile p = sum_up(run, stages);
  EXPECT_EQ(p.rows[0].bytes, 3 * 10);
  EXPECT_EQ(p.rows[1].operations, 3 * 7 + 7);
  EXPECT_EQ(p.rows[3].bytes, (5 + 1) * 2);  // a window of 6 of the 6 before the row, and it
  EXPECT_EQ(p.rows[3].operations, 6 * 4);
}

TEST(Profile, TableShowsTheShareOfTheLimit) {
  const std::string table = profile_table(sum_up(a_run(), kStages), 2, 10000);
  EXPECT_EQ(table.find("  stage"), 0U) << table;
  // 2000 bytes in 0.47 s of 10000 a second; half of the time and of the calls each of two tokens.
  EXPECT_NE(table.find("linear a     q4_k       1  235.000 ms   47.0%      1.0 KB     0.0     42.6%"),
            std::string::npos)
      << table;
  EXPECT_NE(table.find("waiting at barriers"), std::string::npos) << table;
  // Seven lines have a share of the time, five of them read something.
  const std::string no_limit = profile_table(sum_up(a_run(), kStages), 2, 0);
  EXPECT_EQ(std::count(table.begin(), table.end(), '%'), 7 + 5) << table;
  EXPECT_EQ(std::count(no_limit.begin(), no_limit.end(), '%'), 7) << no_limit;
}

TEST(Profile, JsonHoldsTheSums) {
  JsonObject o;
  o.add("profile", profile_json(sum_up(a_run(), kStages), 10000));
  const auto profile = nlohmann::json::parse(o.finish()).at("profile");
  EXPECT_EQ(profile.at("stages").size(), 4U);
  EXPECT_EQ(profile.at("stages")[2].at("types"), "q6_k");
  EXPECT_NEAR(profile.at("stages")[1].at("bandwidth_share").get<double>(), 2000 / 0.47 / 10000, 1e-8);
  EXPECT_NEAR(profile.at("waiting_seconds").get<double>(), 0.03, 1e-9);
}

TEST(Profile, TraceHasASpanForEachStageInOrder) {
  const TemporaryDirectory directory;
  const StageRun run = a_run();
  const NamedRun runs[] = {{"first \"run\"", &run}, {"second", &run}};
  ASSERT_TRUE(write_chrome_trace(directory.file("trace.json"), runs, kStages));
  const auto bytes = read_file(directory.file("trace.json"));
  const auto trace = nlohmann::json::parse(bytes.begin(), bytes.end());
  size_t n_spans = 0;
  for (const auto& e : trace.at("traceEvents")) {
    if (e.at("ph") == "M") continue;
    ++n_spans;
    // The first of a worker begins where it entered the step, the second run behind the first.
    if (e.at("cat") == "embed") {
      const double run_begin = e.at("pid") == 2 ? 1e6 : 0;
      EXPECT_NEAR(e.at("ts").get<double>(), run_begin + (e.at("tid") == 0 ? 50e3 : 150e3), 0.01);
      EXPECT_NEAR(e.at("dur").get<double>(), 50e3, 0.01);
      EXPECT_EQ(e.at("args").at("step"), 0);
    }
    if (e.at("name") == "waiting") EXPECT_FALSE(e.at("args").contains("types"));
  }
  EXPECT_EQ(n_spans, 2U * 2 * 6);
  EXPECT_EQ(trace.at("traceEvents")[0].at("args").at("name"), "first \"run\"");
}

TEST(Profile, RecorderGivesSpansWithoutAGap) {
  ModelCode code{};
  code.max_stage_events = 2;
  StageRecorder recorder(code, 2, 3);
  for (int round = 0; round < 2; ++round) {  // begin() forgets what was logged before
    recorder.begin();
    for (int i = 0; i < 7; ++i) log_stage(recorder.logs()[1], 5, i);  // one more than there is room for
    const StageRun run = recorder.finish({{0, 1, 1}});
    ASSERT_EQ(run.workers.size(), 2U);
    EXPECT_EQ(run.workers[0].size(), 1U);
    EXPECT_EQ(run.workers[1].size(), 7U);
    EXPECT_EQ(recorder.logs()[1].n_lost, 1U);
    EXPECT_EQ(run.workers[1].back().end, run.end);
    EXPECT_EQ(run.workers[1].back().stage, kOutsideStep);
    for (size_t i = 1; i < 7; ++i) EXPECT_LE(run.workers[1][i - 1].end, run.workers[1][i].end);
    EXPECT_GE(run.workers[1][0].end, run.begin);
    EXPECT_GT(run.seconds, 0);
  }
}

}  // namespace
}  // namespace forge::rt
