// What a Hugging Face repository holds, and which of its files are a model.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace forge {

struct HubFile {
  std::string path;  // in the repository; hostile until is_safe_path() says otherwise
  std::optional<uint64_t> size = {};
  std::string sha256 = {};  // lower-case hex, of files in large-file storage
  std::string blob = {};    // the entity tag that huggingface_hub names the blob by; empty: not told
};

struct HubListing {
  std::string commit;
  std::vector<HubFile> files;
};

// The answer to GET /api/models/ORG/NAME/revision/REV?blobs=true. Throws Error (`where` in front) for what is none.
HubListing parse_hub_listing(std::string_view json, std::string_view where);

// The models in a listing, each as its files: every GGUF file (with all parts of a split one, in order), and the files
// of the checkpoint in safetensors, where there is one, config.json first. Incomplete split files are left out.
std::vector<std::vector<std::string>> models_in(const HubListing& listing);

// The files of the model that `spec` names: a file's path or name, a type as file names have it ("Q4_K_M"), or
// "safetensors". Empty: the GGUF file of the commonest type that is there (Q4_K_M, then Q8_0 …), or the checkpoint
// in safetensors. Throws Error that lists what there is, `repo` in front, and for a model with an unsafe path.
std::vector<HubFile> choose_model(const HubListing& listing, std::string_view repo, std::string_view spec);

// "story-00002-of-00003.gguf" is part 2 of 3 of "story"; nullopt for what is no part.
struct SplitName {
  std::string prefix;  // "dir/story"
  uint32_t part = 0, parts = 0;
};
std::optional<SplitName> parse_split_name(std::string_view path);
std::string split_name(const std::string& prefix, uint32_t part, uint32_t parts);

}  // namespace forge
