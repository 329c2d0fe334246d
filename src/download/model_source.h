// MODEL as a user writes it where it is not a path: hf:ORG/NAME[:TYPE or FILE], or a URL.
#pragma once

#include <string>
#include <string_view>

#include "download/blob.h"

namespace forge {

// Whether it is one of these, and no path.
bool is_remote_model(std::string_view model);

struct FetchOptions {
  bool offline = false;  // only what the cache holds
  RetryPolicy retry;
  DownloadReport report;
};

struct FetchedModel {
  std::string path;  // in the cache: the (first) GGUF file, or a folder with config.json and safetensors
  std::string name;  // what a program of it is called by default: "story-Q4_K_M", "SmolLM2-135M"
};

// Brings what is missing of the model into the Hugging Face cache (download/hub_cache.h). A URL at $HF_ENDPOINT is the
// repository or the file there; any other is a GGUF file, kept in the cache as the file of a repository of its own,
// with its host in the name. What is cached serves where the server can't be reached. Throws Error.
FetchedModel fetch_model(const std::string& model, const FetchOptions& options);

}  // namespace forge
