// What a scheduler reads from disk is what it would have computed.
#include "dsa/disk_cache.h"

#include <signal.h>
#include <sys/resource.h>

#include <deque>
#include <filesystem>
#include <fstream>
#include <random>

#include "dsa/engine.h"

#include "tests/io/temp_dir.h"
#include "tests/scheduler/serving.h"

namespace dsa::scheduler {
namespace {

namespace fs = std::filesystem;

SchedulerOptions on_disk(const TempDir& dir) {
  SchedulerOptions options;
  options.disk.dir = dir.path();
  return options;
}

std::vector<fs::path> page_files(const TempDir& dir) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(dir.path())) {
    if (entry.path().extension() == ".page") files.push_back(entry.path());
  }
  return files;
}

TEST(DiskCacheServing, GivesARestartedSchedulerTheBitsOfTheFirst) {
  const TempDir dir;
  const GenerateRequest request = request_for(text_tokens(0, 300), 20);
  Transcript first;
  {
    const auto scheduler = make_scheduler(serving_engine(), on_disk(dir));
    first = run_alone(scheduler.get(), request);
    EXPECT_EQ(first.result.prompt_cache_hit_tokens, 0);
  }
  EXPECT_EQ(page_files(dir).size(), 4U);
  const auto scheduler = make_scheduler(serving_engine(), on_disk(dir));
  const Transcript second = run_alone(scheduler.get(), request);
  EXPECT_EQ(second.result.prompt_cache_hit_tokens, 256);
  expect_same(second, first);
  const SchedulerStats stats = scheduler->stats();
  EXPECT_EQ(stats.disk.hits, 4);
  EXPECT_EQ(stats.disk.n_pages, 4);
  EXPECT_EQ(stats.prefilled_tokens_total, 44);
  expect_no_leak(*scheduler);
}

TEST(DiskCacheServing, KeepsPagesOfTheEnginesSize) {
  const TempDir dir;
  EngineOptions engine = serving_engine();
  engine.page_tokens = 128;
  const GenerateRequest request = request_for(text_tokens(0, 300), 20);
  const Transcript first = run_alone(make_scheduler(engine, on_disk(dir)).get(), request);
  const Transcript second = run_alone(make_scheduler(engine, on_disk(dir)).get(), request);
  EXPECT_EQ(second.result.prompt_cache_hit_tokens, 256);
  expect_same(second, first);
  const auto entries = list_disk_cache(dir.path());
  ASSERT_TRUE(entries.ok());
  ASSERT_EQ(entries->size(), 1U);
  EXPECT_EQ(entries->front().n_pages, 2);
  EXPECT_EQ(entries->front().page_tokens, 128);
  EXPECT_EQ(entries->front().description.find('\n'), std::string::npos);
}

TEST(DiskCacheServing, NeverUsesPagesOfOtherOptionsOrAnotherCheckpoint) {
  const TempDir dir;
  const GenerateRequest request = request_for(text_tokens(0, 200), 3);
  run_alone(make_scheduler(serving_engine(), on_disk(dir)).get(), request);
  std::vector<EngineOptions> others(6, serving_engine());
  others[0].kv_cache = CacheFormat::kBF16;
  others[1].index_cache = CacheFormat::kBF16;
  others[2].attention.top_k = 32;
  others[3].attention.mode = AttentionMode::kDense;
  others[4].attention.keep_recent = 8;
  others[5].page_tokens = 128;
  for (const EngineOptions& other : others) {
    const auto scheduler = make_scheduler(other, on_disk(dir));
    EXPECT_EQ(run_alone(scheduler.get(), request).result.prompt_cache_hit_tokens, 0);
  }
  {
    const ForcedTier tier("scalar");
    const auto scheduler = make_scheduler(serving_engine(), on_disk(dir));
    EXPECT_EQ(run_alone(scheduler.get(), request).result.prompt_cache_hit_tokens, 0);
  }
  const TempDir copy;  // one weight has another sign; size and time of modification are the same
  for (const auto& entry : fs::directory_iterator(DSA_SOURCE_DIR "/tests/checkpoints/baby-v32"))
    fs::copy(entry.path(), copy.path());
  const std::string weights = copy.file("model.safetensors");
  const auto written = fs::last_write_time(weights);
  {
    std::fstream file(weights, std::ios::in | std::ios::out | std::ios::binary);
    const auto place = static_cast<std::streamoff>(fs::file_size(weights) / 2 | 1U);
    file.seekg(place);
    const int byte = file.get();
    file.seekp(place);
    file.put(static_cast<char>(byte ^ 0x80));
  }
  fs::last_write_time(weights, written);
  const auto other = Scheduler::create(open_model(copy.path()), serving_engine(), on_disk(dir));
  ASSERT_TRUE(other.ok()) << other.status().message();
  EXPECT_EQ(run_alone(other->get(), request).result.prompt_cache_hit_tokens, 0);
  EXPECT_EQ(list_disk_cache(dir.path())->size(), 9U);
}

TEST(DiskCacheServing, ComputesAnewWhatTheDiskGivesBackWrong) {
  const TempDir dir;
  const GenerateRequest request = request_for(text_tokens(0, 400), 10);
  const Transcript first = run_alone(make_scheduler(serving_engine(), on_disk(dir)).get(), request);
  std::mt19937 random(5);
  for (int round = 0; round < 8; ++round) {
    const std::vector<fs::path> files = page_files(dir);
    ASSERT_EQ(files.size(), 6U);
    for (int i = 0; i < 3; ++i) {
      const fs::path& path = files[random() % files.size()];
      if (random() % 4 == 0) {
        fs::resize_file(path, random() % fs::file_size(path));
        continue;
      }
      std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
      file.seekp(static_cast<std::streamoff>(random() % fs::file_size(path)));
      file.put(static_cast<char>(random()));
    }
    const auto scheduler = make_scheduler(serving_engine(), on_disk(dir));
    const Transcript again = run_alone(scheduler.get(), request);
    expect_same(again, first);
    expect_no_leak(*scheduler);
  }
}

TEST(DiskCacheServing, ServesOnWhenTheDiskIsFull) {
  const TempDir dir;
  signal(SIGXFSZ, SIG_IGN);
  rlimit before = {};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto scheduler = make_scheduler(serving_engine(), on_disk(dir));
  rlimit small = before;
  small.rlim_cur = 500;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const GenerateRequest request = request_for(text_tokens(0, 300), 10);
  const Transcript first = run_alone(scheduler.get(), request);
  const Transcript second = run_alone(scheduler.get(), request);
  scheduler->shutdown(std::chrono::milliseconds(0));
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  EXPECT_EQ(first.result.reason, FinishReason::kLength);
  EXPECT_EQ(second.result.prompt_cache_hit_tokens, 256);  // from memory
  expect_same(second, first);
  EXPECT_GE(scheduler->stats().disk.errors, 1);
  EXPECT_TRUE(page_files(dir).empty());
}

// The pool forgets all the time: prompts of preempted requests come back from disk.
TEST(DiskCacheServing, TakesBackWhatASmallPoolForgot) {
  const TempDir dir;
  const auto roomy = make_scheduler(serving_engine(64));
  const auto scheduler = make_scheduler(serving_engine(10), on_disk(dir));
  std::vector<GenerateRequest> requests;
  for (size_t i = 0; i < 12; ++i)
    requests.push_back(request_for(text_tokens(i % 3 * 200, 100 + 40 * (i % 5)), 60));
  std::deque<Transcript> got(requests.size());
  for (size_t i = 0; i < requests.size(); ++i)
    ASSERT_TRUE(scheduler->submit(got[i].record(requests[i])).ok());
  step_until_idle(scheduler.get());
  for (size_t i = 0; i < requests.size(); ++i)
    expect_same(got[i], run_alone(roomy.get(), requests[i]));
  EXPECT_GT(scheduler->stats().evictions_total, 0);
  EXPECT_GT(scheduler->stats().disk.hits, 0);
  expect_no_leak(*scheduler);
}

TEST(DiskCacheServing, RefusesADirectoryItCannotUse) {
  const TempDir dir;
  dir.write("file", "");
  SchedulerOptions options;
  options.disk.dir = dir.file("file");
  const auto scheduler = Scheduler::create(serving_model(), serving_engine(), options);
  ASSERT_FALSE(scheduler.ok());
  EXPECT_EQ(scheduler.status().code(), StatusCode::kIoError);
  options.disk.max_bytes = 0;
  EXPECT_NE(Scheduler::create(serving_model(), serving_engine(), options)
                .status()
                .message()
                .find("disk.max_bytes: 0"),
            std::string::npos);
}

}  // namespace
}  // namespace dsa::scheduler
