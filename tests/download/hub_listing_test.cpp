#include "download/hub_listing.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/core/expect_error.h"

namespace forge {
namespace {

const std::string kCommit(40, 'a');

std::string chosen(const std::vector<std::string>& files, std::string_view spec) {
  HubListing listing{.commit = kCommit};
  for (const std::string& f : files) listing.files.push_back({.path = f});
  std::string out;
  for (const HubFile& f : choose_model(listing, "hf:o/n", spec)) out += (out.empty() ? "" : " ") + f.path;
  return out;
}

TEST(HubListing, IsRead) {
  const nlohmann::json json = {
      {"sha", kCommit},
      {"siblings",
       {{{"rfilename", "config.json"}, {"size", 12}, {"blobId", std::string(40, 'b')}},
        {{"rfilename", "m.gguf"},
         {"size", 5},
         {"blobId", std::string(40, 'c')},
         {"lfs", {{"sha256", std::string(64, 'd')}}}},
        {{"rfilename", "unsized"}, {"size", -1}, {"blobId", "../../x"}, {"lfs", {{"sha256", "../x"}}}}}}};
  const HubListing listing = parse_hub_listing(json.dump(), "hf:o/n");
  EXPECT_EQ(listing.commit, kCommit);
  ASSERT_EQ(listing.files.size(), 3u);
  EXPECT_EQ(listing.files[0].size, 12u);
  EXPECT_EQ(listing.files[0].blob, std::string(40, 'b'));
  EXPECT_EQ(listing.files[1].blob, std::string(64, 'd'));
  EXPECT_EQ(listing.files[1].sha256, std::string(64, 'd'));
  EXPECT_FALSE(listing.files[2].size);
  EXPECT_EQ(listing.files[2].blob, "");  // what is no hash is no file name either
  EXPECT_EQ(listing.files[2].sha256, "");
}

TEST(HubListing, OtherAnswersAreRefused) {
  for (const char* text : {"", "[]", "<html>", "{}", R"({"sha":"main","siblings":[]})", R"({"sha":1})",
                           R"({"sha":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","siblings":[1]})",
                           R"({"sha":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","siblings":{}})"})
    expect_error([&] { parse_hub_listing(text, "hf:o/n"); }, {"hf:o/n: ", "HF_ENDPOINT"});
}

TEST(ChooseModel, TypesAndNames) {
  const std::vector<std::string> files = {"README.md",       "m-F16.gguf",        "m-Q4_K_M.gguf",
                                          "m-Q4_K_S.gguf",   "m-UD-Q4_K_XL.gguf", "m-Q8_0.gguf",
                                          "mmproj-F16.gguf", "sub/m-IQ4_XS.gguf"};
  EXPECT_EQ(chosen(files, ""), "m-Q4_K_M.gguf");
  EXPECT_EQ(chosen(files, "q8_0"), "m-Q8_0.gguf");
  EXPECT_EQ(chosen(files, "F16"), "m-F16.gguf");
  EXPECT_EQ(chosen(files, "Q4_K_XL"), "m-UD-Q4_K_XL.gguf");
  EXPECT_EQ(chosen(files, "m-Q4_K_S.gguf"), "m-Q4_K_S.gguf");
  EXPECT_EQ(chosen(files, "IQ4_XS"), "sub/m-IQ4_XS.gguf");
  EXPECT_EQ(chosen(files, "m-IQ4_XS.gguf"), "sub/m-IQ4_XS.gguf");
  EXPECT_EQ(chosen({"m-f16.gguf", "m-q8_0.gguf"}, ""), "m-q8_0.gguf");
  EXPECT_EQ(chosen({"m-XYZ.gguf"}, ""), "m-XYZ.gguf");
  expect_error([&] { chosen(files, "Q4_K"); }, {"hf:o/n: nothing there is called Q4_K", "m-Q8_0.gguf"});
  expect_error([&] { chosen({"a.gguf", "b.gguf"}, ""); }, {"hf:o/n: which one?", "a.gguf, b.gguf"});
  expect_error([&] { chosen({"README.md", "pytorch_model.bin"}, ""); }, {"hf:o/n: holds no model"});
}

TEST(ChooseModel, AllPartsOfASplitFile) {
  const std::vector<std::string> files = {"q/m-Q8_0-00002-of-00003.gguf", "q/m-Q8_0-00001-of-00003.gguf",
                                          "q/m-Q8_0-00003-of-00003.gguf"};
  const std::string all =
      "q/m-Q8_0-00001-of-00003.gguf q/m-Q8_0-00002-of-00003.gguf q/m-Q8_0-00003-of-00003.gguf";
  EXPECT_EQ(chosen(files, ""), all);
  EXPECT_EQ(chosen(files, "Q8_0"), all);
  EXPECT_EQ(chosen(files, "m-Q8_0-00002-of-00003.gguf"), all);
  expect_error([&] { chosen({files[0], files[1]}, ""); }, {"all parts"});
  expect_error([&] { chosen({"m-00001-of-99999.gguf"}, ""); }, {"all parts"});
}

TEST(ChooseModel, CheckpointInSafetensors) {
  const std::vector<std::string> files = {"config.json",
                                          "consolidated.safetensors",
                                          "model-00001-of-00002.safetensors",
                                          "model-00002-of-00002.safetensors",
                                          "model.safetensors.index.json",
                                          "onnx/model.safetensors",
                                          "tokenizer.json",
                                          "training_args.bin"};
  const std::string all =
      "config.json tokenizer.json model.safetensors.index.json model-00001-of-00002.safetensors "
      "model-00002-of-00002.safetensors";
  EXPECT_EQ(chosen(files, ""), all);
  EXPECT_EQ(chosen(files, "safetensors"), all);
  const std::vector<std::string> both = {"config.json", "model.safetensors", "m-Q8_0.gguf"};
  EXPECT_EQ(chosen(both, ""), "m-Q8_0.gguf");
  EXPECT_EQ(chosen(both, "safetensors"), "config.json model.safetensors");
}

TEST(ChooseModel, NamesThatLeadElsewhereAreRefused) {
  for (const char* path :
       {"../m.gguf", "/etc/m.gguf", "a/../../m.gguf", "a//m.gguf", "./m.gguf", "a\\m.gguf", "a\nm.gguf"})
    expect_error([&] { chosen({path}, ""); }, {"hf:o/n: the name ", "refused"});
}

TEST(SplitName, IsParsed) {
  const auto split = parse_split_name("dir/story-00002-of-00013.gguf");
  ASSERT_TRUE(split);
  EXPECT_EQ(split->prefix, "dir/story");
  EXPECT_EQ(split->part, 2u);
  EXPECT_EQ(split->parts, 13u);
  EXPECT_EQ(split_name("dir/story", 2, 13), "dir/story-00002-of-00013.gguf");
  for (const char* name : {"story.gguf", "story-00003-of-00002.gguf", "story-00000-of-00002.gguf",
                           "story-1-of-2.gguf", "-00001-of-00002.gguf", "story-0000x-of-00002.gguf"})
    EXPECT_FALSE(parse_split_name(name)) << name;
}

}  // namespace
}  // namespace forge
