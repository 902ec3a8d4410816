#include "cache/disk_tier.h"

#include <gmock/gmock.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "dsa/disk_cache.h"

#include "cache/page_file.h"
#include "tests/io/temp_dir.h"

namespace dsa {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kPageBytes = 5000;
constexpr int64_t kFileBytes = kPageBytes + kPageFileHeaderBytes;

const std::string kIdentity(64, 'a');
const std::string kOther(64, 'b');

// Pages of a document: key i and content i belong together.
PageKey key_of(uint32_t i) {
  Sha256 hash;
  hash.add(std::to_string(i));
  return hash.finish();
}

std::vector<uint8_t> content_of(uint32_t i) {
  std::vector<uint8_t> content(kPageBytes);
  std::mt19937 random(i);
  for (uint8_t& byte : content)
    byte = static_cast<uint8_t>(random());
  return content;
}

std::unique_ptr<DiskTier> open_tier(const std::string& dir,
                                    int64_t max_bytes = int64_t{1} << 30,
                                    const std::string& identity = kIdentity) {
  DiskCacheOptions options;
  options.dir = dir;
  options.max_bytes = max_bytes;
  auto tier = DiskTier::open(options, identity, "a test's pages", kPageBytes);
  EXPECT_TRUE(tier.ok()) << tier.status().message();
  return tier.ok() ? std::move(tier).value() : nullptr;
}

void write_pages(DiskTier* tier, uint32_t first, uint32_t last) {
  for (uint32_t i = first; i < last; ++i)
    tier->write(key_of(i), content_of(i));
  tier->flush();
}

// Whether the page is there; what is there is what was written.
bool has_page(DiskTier* tier, uint32_t i) {
  std::vector<uint8_t> content(kPageBytes);
  if (!tier->read(key_of(i), content)) return false;
  EXPECT_EQ(content, content_of(i)) << "page " << i;
  return true;
}

std::string file_of(const std::string& dir, uint32_t i) {
  return dir + "/" + kIdentity + "/" + page_file_name(key_of(i));
}

TEST(DiskTier, GivesBackWhatItWasGivenAfterARestart) {
  const TempDir dir;
  {
    const auto tier = open_tier(dir.path());
    EXPECT_TRUE(tier->wants(key_of(0)));
    write_pages(tier.get(), 0, 5);
    EXPECT_FALSE(tier->wants(key_of(0)));
    EXPECT_TRUE(tier->contains(key_of(4)));
    EXPECT_TRUE(has_page(tier.get(), 4));
    EXPECT_FALSE(has_page(tier.get(), 5));
  }
  const auto tier = open_tier(dir.path());
  for (uint32_t i = 0; i < 5; ++i)
    EXPECT_TRUE(has_page(tier.get(), i));
  const DiskCacheStats stats = tier->stats();
  EXPECT_EQ(stats.n_pages, 5);
  EXPECT_EQ(stats.bytes, 5 * kFileBytes);
  EXPECT_EQ(stats.hits, 5);
  EXPECT_EQ(stats.errors, 0);
}

TEST(DiskTier, NeverUsesPagesOfAnotherIdentity) {
  const TempDir dir;
  write_pages(open_tier(dir.path()).get(), 0, 3);
  const auto tier = open_tier(dir.path(), int64_t{1} << 30, kOther);
  EXPECT_FALSE(has_page(tier.get(), 0));
  EXPECT_EQ(tier->stats().n_pages, 0);
  EXPECT_EQ(tier->stats().bytes, 3 * kFileBytes);
}

TEST(DiskTier, KeepsToItsSizeAndForgetsWhatWasUsedLongestAgo) {
  const TempDir dir;
  {
    const auto tier = open_tier(dir.path(), 4 * kFileBytes);
    write_pages(tier.get(), 0, 4);
    std::this_thread::sleep_for(std::chrono::milliseconds(30));  // file systems count by ticks
    EXPECT_TRUE(has_page(tier.get(), 0));                        // now used later than 1
    write_pages(tier.get(), 4, 5);
    EXPECT_FALSE(has_page(tier.get(), 1));
    EXPECT_TRUE(has_page(tier.get(), 0));
    EXPECT_EQ(tier->stats().evictions, 1);
    EXPECT_EQ(tier->stats().bytes, 4 * kFileBytes);
  }
  // Pages of others make room too, and the order of use outlives the process.
  const auto tier = open_tier(dir.path(), 4 * kFileBytes, kOther);
  write_pages(tier.get(), 10, 12);
  EXPECT_FALSE(fs::exists(file_of(dir.path(), 2)));
  EXPECT_FALSE(fs::exists(file_of(dir.path(), 3)));
  EXPECT_TRUE(fs::exists(file_of(dir.path(), 0)));
  EXPECT_EQ(tier->stats().bytes, 4 * kFileBytes);
}

TEST(DiskTier, IsCutToASizeThatHasBecomeSmaller) {
  const TempDir dir;
  write_pages(open_tier(dir.path()).get(), 0, 10);
  const auto tier = open_tier(dir.path(), 4 * kFileBytes);
  EXPECT_EQ(tier->stats().bytes, 4 * kFileBytes);
  int64_t n_left = 0;
  for (uint32_t i = 0; i < 10; ++i)
    n_left += tier->contains(key_of(i)) ? 1 : 0;
  EXPECT_EQ(n_left, 4);
}

TEST(DiskTier, TakesNothingThatIsLargerThanItMayBe) {
  const TempDir dir;
  const auto tier = open_tier(dir.path(), kFileBytes - 1);
  write_pages(tier.get(), 0, 1);
  EXPECT_FALSE(has_page(tier.get(), 0));
  EXPECT_EQ(tier->stats().dropped, 1);
  EXPECT_EQ(tier->stats().bytes, 0);
}

TEST(DiskTier, IsUsedByOneProcessAtATime) {
  const TempDir dir;
  auto tier = open_tier(dir.path());
  const auto second = DiskTier::open({.dir = dir.path()}, kIdentity, "", kPageBytes);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.status().code(), StatusCode::kResourceExhausted);
  tier.reset();
  EXPECT_NE(open_tier(dir.path()), nullptr);
}

TEST(DiskTier, NamesADirectoryItCannotUse) {
  const TempDir dir;
  dir.write("file", "");
  const auto tier = DiskTier::open({.dir = dir.file("file")}, kIdentity, "", kPageBytes);
  ASSERT_FALSE(tier.ok());
  EXPECT_EQ(tier.status().code(), StatusCode::kIoError);
  EXPECT_THAT(tier.status().message(), testing::HasSubstr(dir.file("file")));
}

TEST(DiskTier, TakesAnyByteThatChangedForAMiss) {
  const TempDir dir;
  write_pages(open_tier(dir.path()).get(), 0, 1);
  std::string whole;
  {
    std::ifstream file(file_of(dir.path(), 0), std::ios::binary);
    whole.assign(std::istreambuf_iterator<char>(file), {});
  }
  ASSERT_EQ(whole.size(), static_cast<size_t>(kFileBytes));
  std::mt19937 random(3);
  std::vector<size_t> places;
  for (size_t i = 0; i < static_cast<size_t>(kPageFileHeaderBytes); ++i)
    places.push_back(i);
  for (int i = 0; i < 200; ++i)
    places.push_back(random() % whole.size());
  for (const size_t place : places) {
    std::string changed = whole;
    changed[place] = static_cast<char>(changed[place] ^ (1 << random() % 8));
    std::ofstream(file_of(dir.path(), 0), std::ios::binary) << changed;
    const auto tier = open_tier(dir.path());
    EXPECT_FALSE(has_page(tier.get(), 0)) << place;
    EXPECT_EQ(tier->stats().errors, 1);
    EXPECT_FALSE(fs::exists(file_of(dir.path(), 0)));
    EXPECT_TRUE(tier->wants(key_of(0)));  // and it can be written anew
  }
}

TEST(DiskTier, TakesAFileOfAnyOtherLengthForAMiss) {
  const TempDir dir;
  for (const uintmax_t size : {0U, 1U, 79U, 80U, 81U, 5079U, 5081U, 100'000U}) {
    const auto tier = open_tier(dir.path());
    write_pages(tier.get(), 0, 1);
    fs::resize_file(file_of(dir.path(), 0), size);
    EXPECT_FALSE(has_page(tier.get(), 0)) << size;
  }
}

TEST(DiskTier, TakesAPageUnderAnotherNameForAMiss) {
  const TempDir dir;
  write_pages(open_tier(dir.path()).get(), 0, 1);
  fs::rename(file_of(dir.path(), 0), file_of(dir.path(), 1));
  const auto tier = open_tier(dir.path());
  EXPECT_TRUE(tier->contains(key_of(1)));
  EXPECT_FALSE(has_page(tier.get(), 1));
}

// A limit of the process on sizes of files is a full disk that needs no rights.
TEST(DiskTier, CountsWritesThatFailAndGoesOn) {
  const TempDir dir;
  const auto tier = open_tier(dir.path());
  write_pages(tier.get(), 0, 1);
  signal(SIGXFSZ, SIG_IGN);
  rlimit before = {};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  rlimit small = before;
  small.rlim_cur = 1000;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  write_pages(tier.get(), 1, 4);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  DiskCacheStats stats = tier->stats();
  EXPECT_EQ(stats.errors, 1);  // the others were not tried: they would have failed too
  EXPECT_EQ(stats.dropped, 2);
  EXPECT_EQ(stats.pending_bytes, 0);
  EXPECT_TRUE(has_page(tier.get(), 0));
  EXPECT_FALSE(has_page(tier.get(), 1));
  size_t n_files = 0;
  for (const auto& entry : fs::directory_iterator(dir.path() + "/" + kIdentity)) {
    EXPECT_NE(entry.path().extension(), kUnfinishedSuffix);
    ++n_files;
  }
  EXPECT_EQ(n_files, 2U);  // the page, and about.txt
  while (!tier->wants(key_of(1)))
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  write_pages(tier.get(), 1, 2);
  EXPECT_TRUE(has_page(tier.get(), 1));
}

TEST(DiskTier, BoundsWhatWaitsToBeWritten) {
  const TempDir dir;
  DiskCacheOptions options;
  options.dir = dir.path();
  options.max_pending_bytes = kPageBytes - 1;
  const auto tier = DiskTier::open(options, kIdentity, "", kPageBytes).value();
  EXPECT_FALSE(tier->has_room());
  EXPECT_FALSE(tier->wants(key_of(0)));
  tier->write(key_of(0), content_of(0));
  EXPECT_FALSE(tier->contains(key_of(0)));
  EXPECT_EQ(tier->stats().dropped, 2);
}

TEST(DiskTier, IsInOrderAfterBeingKilledAtAnyMoment) {
  const TempDir dir;
  std::mt19937 random(11);
  size_t n_found = 0;
  for (uint32_t round = 0; round < 12; ++round) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      DiskCacheOptions options;
      options.dir = dir.path();
      options.max_bytes = 60 * kFileBytes;
      auto tier = DiskTier::open(options, kIdentity, "", kPageBytes);
      if (!tier.ok()) _exit(1);
      for (uint32_t i = round * 50;; ++i)
        (*tier)->write(key_of(i % 1000), content_of(i % 1000));
    }
    std::this_thread::sleep_for(std::chrono::microseconds(500 + random() % 20'000));
    kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status));
    const auto tier = open_tier(dir.path(), 60 * kFileBytes);
    ASSERT_NE(tier, nullptr);
    for (uint32_t i = 0; i < 1000; ++i)
      n_found += has_page(tier.get(), i) ? 1U : 0U;
    EXPECT_EQ(tier->stats().errors, 0);
    EXPECT_LE(tier->stats().bytes, 60 * kFileBytes);
  }
  EXPECT_GT(n_found, 0U);
}

TEST(DiskCache, ListsVerifiesAndPurgesByIdentity) {
  const TempDir dir;
  write_pages(open_tier(dir.path()).get(), 0, 3);
  write_pages(open_tier(dir.path(), int64_t{1} << 30, kOther).get(), 3, 5);
  dir.write("notes", "not ours");
  const auto entries = list_disk_cache(dir.path());
  ASSERT_TRUE(entries.ok()) << entries.status().message();
  ASSERT_EQ(entries->size(), 2U);
  EXPECT_EQ(entries->front().identity, kIdentity);
  EXPECT_EQ(entries->front().description, "a test's pages");
  EXPECT_EQ(entries->front().n_pages, 3);
  EXPECT_EQ(entries->front().page_tokens, kDefaultPageTokens);  // nobody said otherwise
  EXPECT_EQ(entries->front().bytes, 3 * kFileBytes);
  EXPECT_GT(entries->front().last_used, 1'600'000'000);

  fs::resize_file(file_of(dir.path(), 1), 4000);
  const auto verified = verify_disk_cache(dir.path());
  ASSERT_TRUE(verified.ok());
  EXPECT_EQ(verified->n_pages, 4);
  ASSERT_EQ(verified->bad.size(), 1U);
  EXPECT_THAT(verified->bad.front(), testing::HasSubstr(page_file_name(key_of(1))));

  EXPECT_EQ(*purge_disk_cache(dir.path(), kOther), 2 * kFileBytes);
  EXPECT_EQ(list_disk_cache(dir.path())->size(), 1U);
  EXPECT_EQ(purge_disk_cache(dir.path(), kOther).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(*purge_disk_cache(dir.path(), ""), 2 * kFileBytes + 4000);
  EXPECT_TRUE(list_disk_cache(dir.path())->empty());
  EXPECT_TRUE(fs::exists(dir.file("notes")));
  EXPECT_EQ(list_disk_cache(dir.file("nowhere")).status().code(), StatusCode::kNotFound);
}

TEST(DiskCache, IsPurgedUnderARunningTier) {
  const TempDir dir;
  const auto tier = open_tier(dir.path());
  write_pages(tier.get(), 0, 3);
  ASSERT_TRUE(purge_disk_cache(dir.path(), "").ok());
  EXPECT_FALSE(has_page(tier.get(), 0));
  write_pages(tier.get(), 5, 6);
  EXPECT_TRUE(has_page(tier.get(), 5));
  EXPECT_EQ(tier->stats().errors, 0);
}

}  // namespace
}  // namespace dsa
