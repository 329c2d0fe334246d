#include "download/hub_cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <tuple>
#include <utility>

#include "core/error.h"
#include "core/output_file.h"
#include "core/sha256.h"
#include "download/hub_listing.h"

namespace forge {
namespace {
namespace fs = std::filesystem;

constexpr size_t kMaxPath = 1024, kMaxName = 255;
constexpr std::string_view kRepoPrefix = "models--";

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

std::string replaced(std::string text, std::string_view what, std::string_view with) {
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + with.size()))
    text.replace(at, what.size(), with);
  return text;
}

void make_folders(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error)
    fail("{}: can't be created: {}; set HF_HUB_CACHE to a folder that can", path.string(), error.message());
}

// The first 64 KiB of a small text file, without white space around it; empty where there is none.
std::string small_text(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::string text(65536, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(in.gcount()));
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

// The folder of Hugging Face's own files; empty where no variable names one.
std::string hub_home() {
  if (const std::string home = environment("HF_HOME"); !home.empty()) return home;
  if (const std::string cache = environment("XDG_CACHE_HOME"); !cache.empty()) return cache + "/huggingface";
  if (const std::string home = environment("HOME"); !home.empty()) return home + "/.cache/huggingface";
  return "";
}

// An open file that is closed at the end, and with it a lock on it.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

}  // namespace

bool is_safe_path(std::string_view path) {
  if (path.empty() || path.size() > kMaxPath) return false;
  for (std::string_view rest = path;;) {
    const size_t slash = rest.find('/');
    const std::string_view part = rest.substr(0, slash);
    if (part.empty() || part == "." || part == ".." || part.size() > kMaxName) return false;
    if (std::ranges::any_of(part,
                            [](char c) { return static_cast<uint8_t>(c) < ' ' || c == '\\' || c == 0x7f; }))
      return false;
    if (slash == std::string_view::npos) return true;
    rest.remove_prefix(slash + 1);
  }
}

std::string blob_name(std::string_view etag) {
  std::string_view plain = etag;
  if (plain.starts_with("W/")) plain.remove_prefix(2);
  if (plain.size() >= 2 && plain.starts_with('"') && plain.ends_with('"'))
    plain = plain.substr(1, plain.size() - 2);
  const auto is_word = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_';
  };
  if (!plain.empty() && plain.size() <= 128 && std::ranges::all_of(plain, is_word)) return std::string(plain);
  Sha256 sha;
  sha.add(etag.data(), etag.size());
  return to_hex(sha.digest());
}

CachedRepo::CachedRepo(const std::string& hub_directory, std::string_view repo)
    : hub_(hub_directory), folder_(std::string(kRepoPrefix) + replaced(std::string(repo), "/", "--")) {}

std::string CachedRepo::blob_path(const std::string& blob) const {
  return fmt::format("{}/{}/blobs/{}", hub_, folder_, blob);
}

std::string CachedRepo::snapshot_path(const std::string& commit) const {
  return fmt::format("{}/{}/snapshots/{}", hub_, folder_, commit);
}

std::string CachedRepo::file_path(const std::string& commit, const std::string& file) const {
  return fmt::format("{}/{}", snapshot_path(commit), file);
}

std::optional<std::string> CachedRepo::commit_of(const std::string& revision) const {
  if (!is_safe_path(revision)) return std::nullopt;
  std::string commit = small_text(fmt::format("{}/{}/refs/{}", hub_, folder_, revision));
  std::error_code error;
  if (is_safe_path(commit) && fs::is_directory(snapshot_path(commit), error)) return commit;
  if (fs::is_directory(snapshot_path(revision), error)) return revision;
  return std::nullopt;
}

std::vector<std::string> CachedRepo::files(const std::string& commit) const {
  std::vector<std::string> out;
  const fs::path root = snapshot_path(commit);
  std::error_code error;
  for (fs::recursive_directory_iterator it(root, error), end; !error && it != end; it.increment(error)) {
    std::error_code gone;
    if (it->is_regular_file(gone)) out.push_back(it->path().lexically_relative(root).string());
  }
  std::ranges::sort(out);
  return out;
}

void CachedRepo::write_ref(const std::string& revision, const std::string& commit) const {
  const std::string path = fmt::format("{}/{}/refs/{}", hub_, folder_, revision);
  if (small_text(path) == commit) return;
  make_folders(fs::path(path).parent_path());
  OutputFile file(path);
  file.write({reinterpret_cast<const uint8_t*>(commit.data()), commit.size()});
  file.commit(0644);
}

void CachedRepo::link(const std::string& commit, const std::string& file, const std::string& blob) const {
  const std::string path = file_path(commit, file);
  std::string target = "../../";  // out of snapshots/COMMIT
  for (const char c : file) target += c == '/' ? "../" : "";
  target += "blobs/" + blob;
  std::error_code error;
  if (fs::read_symlink(path, error) == target) return;
  make_folders(fs::path(path).parent_path());
  // Under another name first: others may do this at once, and nobody may find it missing.
  static std::atomic<unsigned> number{0};
  const std::string temporary = fmt::format("{}.tmp-{}-{}", path, ::getpid(), number++);
  ::unlink(temporary.c_str());
  if (::symlink(target.c_str(), temporary.c_str()) != 0 || ::rename(temporary.c_str(), path.c_str()) != 0) {
    const int cause = errno;
    ::unlink(temporary.c_str());
    fail(
        "{}: can't be linked to its blob: {}; set HF_HUB_CACHE to a folder on a file system with symbolic "
        "links",
        path, std::strerror(cause));
  }
}

void CachedRepo::with_lock(const std::string& blob, const std::function<void()>& waiting,
                           const std::function<void()>& work) const {
  make_folders(fmt::format("{}/{}/blobs", hub_, folder_));
  const std::string path = fmt::format("{}/.locks/{}/{}.lock", hub_, folder_, blob);
  make_folders(fs::path(path).parent_path());
  const Descriptor lock(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
  if (lock.get() < 0) fail("{}: can't be opened: {}", path, std::strerror(errno));
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    if (waiting) waiting();
    while (::flock(lock.get(), LOCK_EX) != 0)
      if (errno != EINTR) fail("{}: can't be locked: {}", path, std::strerror(errno));
  }
  work();
}

std::string hub_directory() {
  if (const std::string d = environment("HF_HUB_CACHE"); !d.empty()) return d;
  const std::string home = hub_home();
  if (home.empty()) fail("no folder for downloads: HOME is not set; set HF_HUB_CACHE to one");
  return home + "/hub";
}

std::string hub_token() {
  std::string token = environment("HF_TOKEN");
  if (token.empty()) {
    std::string path = environment("HF_TOKEN_PATH");
    if (path.empty() && !hub_home().empty()) path = hub_home() + "/token";
    if (!path.empty()) token = small_text(path);
  }
  if (std::ranges::any_of(token, [](char c) { return c <= ' ' || c > '~'; }))
    fail_usage("HF_TOKEN: a token has neither spaces nor control characters");
  return token;
}

std::string hub_endpoint() {
  std::string endpoint = environment("HF_ENDPOINT");
  if (endpoint.empty()) return "https://huggingface.co";
  while (endpoint.ends_with('/')) endpoint.pop_back();
  return endpoint;
}

bool hub_is_offline() {
  std::string value = environment("HF_HUB_OFFLINE");
  for (char& c : value) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return value == "1" || value == "ON" || value == "YES" || value == "TRUE";
}

std::vector<CachedModel> list_cached_models(const std::string& hub_directory) {
  std::vector<CachedModel> out;
  std::error_code error;
  for (const auto& folder : fs::directory_iterator(hub_directory, error)) {
    const std::string name = folder.path().filename();
    if (!name.starts_with(kRepoPrefix)) continue;
    const std::string repo = replaced(name.substr(kRepoPrefix.size()), "--", "/");
    const CachedRepo cached(hub_directory, repo);
    std::error_code ignored;
    for (const auto& snapshot : fs::directory_iterator(folder.path() / "snapshots", ignored)) {
      const std::string commit = snapshot.path().filename();
      HubListing listing{.commit = commit};
      for (const std::string& file : cached.files(commit)) listing.files.push_back({.path = file});
      for (const std::vector<std::string>& model : models_in(listing)) {
        const bool is_gguf = model.front().ends_with(".gguf");
        CachedModel entry{
            .repo = repo,
            .revision = commit,
            .file = is_gguf ? model.front() : "",
            .path = is_gguf ? cached.file_path(commit, model.front()) : cached.snapshot_path(commit)};
        for (const std::string& file : model) {
          struct stat st = {};
          if (::stat(cached.file_path(commit, file).c_str(), &st) != 0) continue;
          entry.bytes += static_cast<uint64_t>(st.st_size);
          entry.used_s = std::max<int64_t>({entry.used_s, st.st_atim.tv_sec, st.st_mtim.tv_sec});
        }
        out.push_back(std::move(entry));
      }
    }
  }
  std::ranges::sort(out, {}, [](const CachedModel& m) { return std::tie(m.repo, m.file, m.revision); });
  return out;
}

}  // namespace forge
