// The Hugging Face cache on disk, in its standard layout, shared with huggingface_hub and others:
//
//   HUB/models--ORG--NAME/blobs/ETAG                 contents (ETAG.incomplete while they come)
//   HUB/models--ORG--NAME/refs/main                  the commit that a revision's name stands for
//   HUB/models--ORG--NAME/snapshots/COMMIT/FILE      a link to the blob
//   HUB/.locks/models--ORG--NAME/ETAG.lock           held by who downloads
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace forge {

// A name that may stand in a path below a repository's folder: relative, of plain components.
bool is_safe_path(std::string_view path);
// A file name for an entity tag: itself (without quotes and W/) where that is a plain word, else its hash.
std::string blob_name(std::string_view etag);

// One repository's folder in the cache.
class CachedRepo {
 public:
  // repo: "ORG/NAME" or "NAME".
  CachedRepo(const std::string& hub_directory, std::string_view repo);

  std::string blob_path(const std::string& blob) const;
  std::string snapshot_path(const std::string& commit) const;
  // Where the file of a snapshot lies, or would.
  std::string file_path(const std::string& commit, const std::string& file) const;

  // The commit that a revision (a branch, or a commit itself) stands for; nullopt where it is not cached.
  std::optional<std::string> commit_of(const std::string& revision) const;
  // Files of a snapshot that are there, by their paths in the repository, sorted; empty where there is none.
  std::vector<std::string> files(const std::string& commit) const;

  // The rest throws Error naming what can't be written.
  void write_ref(const std::string& revision, const std::string& commit) const;
  // Makes snapshots/COMMIT/FILE a link to the blob, replacing one to another blob.
  void link(const std::string& commit, const std::string& file, const std::string& blob) const;
  // Calls `work` while holding the blob's lock; `waiting` (may be null) is called first where another process holds it.
  void with_lock(const std::string& blob, const std::function<void()>& waiting,
                 const std::function<void()>& work) const;

 private:
  std::string hub_, folder_;  // folder_: "models--ORG--NAME"
};

// $HF_HUB_CACHE, $HF_HOME/hub, $XDG_CACHE_HOME/huggingface/hub or ~/.cache/huggingface/hub. Throws Error where none of
// these variables is set.
std::string hub_directory();
// $HF_TOKEN, else what stands in $HF_TOKEN_PATH, or in the file `token` of the folder that hub_directory() is in by
// default; empty where there is none. Throws a usage Error for a token that could not be sent.
std::string hub_token();
// $HF_ENDPOINT without a slash at its end, or https://huggingface.co.
std::string hub_endpoint();
// Whether $HF_HUB_OFFLINE says so.
bool hub_is_offline();

// A model that lies in the cache: a GGUF file (all of its parts), or a snapshot with safetensors.
struct CachedModel {
  std::string repo;      // "ORG/NAME"
  std::string revision;  // the commit
  std::string file;      // its (first) GGUF file; empty: the snapshot is the model
  std::string path;      // what forge takes as MODEL
  uint64_t bytes = 0;
  int64_t used_s = 0;  // when it was last read or changed, as far as the disk notes that; seconds since 1970
};

// Of a hub directory, sorted by repository and file. What can't be read is left out.
std::vector<CachedModel> list_cached_models(const std::string& hub_directory);

}  // namespace forge
