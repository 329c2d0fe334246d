#include "runtime/host/kv_directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <utility>

#include "runtime/host/files.h"
#include "runtime/host/mapping.h"

namespace forge::rt {
namespace {

constexpr std::string_view kSuffix = ".kv";

std::string hex(uint64_t value) {
  char digits[17];
  std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(value));
  return digits;
}

}  // namespace

KvDirectory::KvDirectory(std::string folder, const KvIdentity& identity, uint64_t max_bytes,
                         std::function<void(const Error&)> report)
    : folder_(std::move(folder)), identity_(identity), max_bytes_(max_bytes), report_(std::move(report)) {}

Result<std::unique_ptr<KvDirectory>> KvDirectory::open(const std::string& path, const KvIdentity& identity,
                                                       uint64_t max_bytes,
                                                       std::function<void(const Error&)> report) {
  // Levels apart: what one keeps as a prompt's rows is nothing but generated text to another, which would replace it.
  const uint64_t level = hash64(as_bytes(identity.level));
  std::string folder = text(path, "/", hex(identity.model_hash ^ identity.plan_hash ^ level));
  for (const std::string& made : {path, folder})
    if (::mkdir(made.c_str(), 0700) != 0 && errno != EEXIST) return system_error(made, "can't be made");
  std::unique_ptr<KvDirectory> out(
      new KvDirectory(std::move(folder), identity, max_bytes, std::move(report)));
  if (const Status read = out->read_folder(); !read) return read.error();
  return out;
}

Status KvDirectory::read_folder() {
  DIR* const directory = ::opendir(folder_.c_str());
  if (directory == nullptr) return system_error(folder_, "can't be opened");
  std::vector<std::pair<timespec, File>> found;
  while (const dirent* entry = ::readdir(directory)) {
    const std::string_view name = entry->d_name;
    File file{.path = text(folder_, "/", name), .tokens = {}};
    struct stat info{};
    if (::stat(file.path.c_str(), &info) != 0) continue;
    // What a server left that was killed while it wrote.
    constexpr time_t kOld = 3600;
    if (name.ends_with(".part") && info.st_mtim.tv_sec + kOld < ::time(nullptr)) ::unlink(file.path.c_str());
    if (!name.ends_with(kSuffix)) continue;
    const auto map = Mapping::file(file.path);
    if (!map) continue;
    // Its hash is checked when it is used.
    auto image = read_kv_image(map->bytes(), identity_, KvImageCheck::shape);
    if (!image) continue;
    file.bytes = map->bytes().size();
    file.n_prompt_rows = image->n_prompt_rows;
    image->tokens.resize(image->n_past);
    file.tokens = std::move(image->tokens);
    found.emplace_back(info.st_mtim, std::move(file));
  }
  ::closedir(directory);
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) {
    return std::pair(a.first.tv_sec, a.first.tv_nsec) > std::pair(b.first.tv_sec, b.first.tv_nsec);
  });
  for (auto& [time, file] : found) {
    n_bytes_ += file.bytes;
    files_.push_back(std::move(file));
  }
  prune();
  return Ok{};
}

KvDirectory::At KvDirectory::best(std::span<const int32_t> prompt, bool prompt_rows_only, uint32_t& n) {
  At found = files_.end();
  n = 0;
  for (auto at = files_.begin(); at != files_.end(); ++at) {
    uint32_t common = common_beginning(at->tokens, prompt);
    if (prompt_rows_only) common = std::min(common, at->n_prompt_rows);
    if (common <= n) continue;
    n = common;
    found = at;
  }
  return found;
}

uint32_t KvDirectory::longest(std::span<const int32_t> prompt, bool prompt_rows_only) {
  uint32_t n = 0;
  best(prompt, prompt_rows_only, n);
  return n;
}

KvStore::Load KvDirectory::open(std::span<const int32_t> prompt, bool prompt_rows_only) {
  uint32_t n = 0;
  const At file = best(prompt, prompt_rows_only, n);
  if (file == files_.end()) return nullptr;
  struct Opened {
    Mapping map;
    KvImage image;
  };
  auto opened = std::make_shared<Opened>();
  auto map = Mapping::file(file->path);
  if (map) opened->map = std::move(*map);
  auto image =
      map ? read_kv_image(opened->map.bytes(), identity_, KvImageCheck::all) : Result<KvImage>(map.error());
  if (!image || !std::equal(file->tokens.begin(), file->tokens.end(), image->present().begin(),
                            image->present().end())) {
    remove(file);  // damaged, or another server removed it
    return nullptr;
  }
  opened->image = std::move(*image);
  used(file);
  return [opened](uint32_t n_wanted, KvPool& pool, CachedText& text) {
    return load_text(opened->image, n_wanted, pool, text);
  };
}

void KvDirectory::keep(const CachedText& text, const KvPool& pool) {
  if (text.kv.n_past < kPagePositions) return;
  for (auto at = files_.begin(); at != files_.end(); ++at)
    if (covers(at->tokens, at->n_prompt_rows, text.tokens, text.n_prompt_rows)) return used(at);
  KvImageHeader header{};
  const auto parts = kv_image_parts(identity_, pool, text.kv, text.tokens, text.n_prompt_rows, {}, header);
  File file{.path = rt::text(folder_, "/", hex(header.hash), kSuffix),
            .tokens = text.tokens,
            .n_prompt_rows = text.n_prompt_rows};
  for (const auto part : parts) file.bytes += part.size();
  if (file.bytes > max_bytes_) return;
  auto writer = FileWriter::create(file.path);
  Status status = writer ? Status(Ok{}) : Status(writer.error());
  for (size_t i = 0; status && i < parts.size(); ++i) status = writer->write(parts[i]);
  if (status) status = writer->commit();
  if (!status) {
    if (report_) std::exchange(report_, nullptr)(status.error());
    return;
  }
  for (auto at = files_.begin(); at != files_.end();) {
    const bool superfluous = covers(file.tokens, file.n_prompt_rows, at->tokens, at->n_prompt_rows);
    at = superfluous ? remove(at) : std::next(at);
  }
  n_bytes_ += file.bytes;
  files_.push_front(std::move(file));
  prune();
}

KvDirectory::At KvDirectory::remove(At file) {
  ::unlink(file->path.c_str());
  n_bytes_ -= file->bytes;
  return files_.erase(file);
}

void KvDirectory::used(At file) {
  ::utimensat(AT_FDCWD, file->path.c_str(), nullptr, 0);
  files_.splice(files_.begin(), files_, file);
}

void KvDirectory::prune() {
  while (n_bytes_ > max_bytes_ && !files_.empty()) remove(std::prev(files_.end()));
}

}  // namespace forge::rt
