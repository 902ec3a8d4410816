#include "runtime/cpu_quota.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace dsa {
namespace {

namespace fs = std::filesystem;

constexpr const char* kV2Mount =
    "25 20 0:22 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
constexpr const char* kV1Mount =
    "25 20 0:22 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n";

// A folder in place of "/".
class Quota : public testing::Test {
 protected:
  void SetUp() override {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    root_ = fs::path(testing::TempDir()) / (std::string("quota_") + test->name());
    fs::remove_all(root_);
  }
  void TearDown() override { fs::remove_all(root_); }

  void write(const std::string& path, const std::string& text) const {
    const fs::path file = root_.string() + path;
    fs::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }

  // The process's group, and what is mounted.
  void process(const std::string& cgroup, const std::string& mountinfo) const {
    write("/proc/self/cgroup", cgroup);
    write("/proc/self/mountinfo", mountinfo);
  }

  CpuQuota read() const { return read_cpu_quota(root_.string()); }

  fs::path root_;
};

TEST_F(Quota, OfVersion2IsReadFromTheProcesssGroup) {
  process("0::/app\n", kV2Mount);
  write("/sys/fs/cgroup/app/cpu.max", "150000 100000\n");
  EXPECT_EQ(read().cpus(), 1.5);
  EXPECT_EQ(read().threads(), 2);
  EXPECT_EQ(read().file, "/sys/fs/cgroup/app/cpu.max");
}

TEST_F(Quota, OfVersion1IsReadFromTheControllerCpu) {
  process("4:cpu,cpuacct:/app\n3:cpuset:/other\n0::/\n", kV1Mount);
  write("/sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_quota_us", "50000\n");
  write("/sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(read().cpus(), 0.5);
  EXPECT_EQ(read().threads(), 1);
  EXPECT_EQ(read().file, "/sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_quota_us");
}

TEST_F(Quota, IsTheSmallestOfTheGroupAndItsAncestors) {
  process("0::/a/b/c\n", kV2Mount);
  write("/sys/fs/cgroup/a/b/c/cpu.max", "max 100000\n");
  write("/sys/fs/cgroup/a/b/cpu.max", "400000 100000\n");
  write("/sys/fs/cgroup/a/cpu.max", "60000 20000\n");
  EXPECT_EQ(read().file, "/sys/fs/cgroup/a/cpu.max");
  write("/sys/fs/cgroup/cpu.max", "250000 100000\n");
  EXPECT_EQ(read().file, "/sys/fs/cgroup/cpu.max");
  EXPECT_EQ(read().threads(), 3);
  write("/sys/fs/cgroup/a/b/c/cpu.max", "1000 100000\n");
  EXPECT_EQ(read().file, "/sys/fs/cgroup/a/b/c/cpu.max");
  EXPECT_EQ(read().threads(), 1);
}

TEST_F(Quota, IsTheSmallestOfBothVersions) {
  process("1:cpu:/x\n0::/y\n", std::string(kV1Mount) + kV2Mount);
  write("/sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_quota_us", "300000");
  write("/sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_period_us", "100000");
  write("/sys/fs/cgroup/y/cpu.max", "200000 100000");
  EXPECT_EQ(read().cpus(), 2);
}

TEST_F(Quota, OfAContainerLiesWhereItsPartOfTheHierarchyIsMounted) {
  // The host's path in /proc/self/cgroup, and only its end mounted, at a name with a space.
  process("2:cpu:/docker/1f/app\n",
          "30 25 0:22 /docker/1f /my\\040groups ro master:9 - cgroup cgroup rw,cpu\n");
  write("/my groups/app/cpu.cfs_quota_us", "200000");
  write("/my groups/app/cpu.cfs_period_us", "100000");
  EXPECT_EQ(read().file, "/my groups/app/cpu.cfs_quota_us");
  write("/my groups/cpu.cfs_quota_us", "100000");
  write("/my groups/cpu.cfs_period_us", "100000");
  EXPECT_EQ(read().file, "/my groups/cpu.cfs_quota_us");
}

TEST_F(Quota, OfAGroupThatIsNotSeenIsThatOfTheMount) {
  for (const char* group : {"0::/../../elsewhere\n", "0::/gone/too\n", "0::relative\n", "0::\n"}) {
    process(group, kV2Mount);
    write("/sys/fs/cgroup/cpu.max", "100000 100000\n");
    EXPECT_EQ(read().cpus(), 1) << group;
  }
  process("0::/docker/1f\n", "25 20 0:22 /docker/1 /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
  write("/f/cpu.max", "10 100000\n");
  write("/sys/fs/cgroup/f/cpu.max", "10 100000\n");
  EXPECT_EQ(read().cpus(), 1);
}

TEST_F(Quota, ThatCannotBeUnderstoodIsNone) {
  for (const std::string text : {"", "max", "max 100000", "-1 100000", "0 100000", "100000",
                                 "100000 0", "100000 -1", "1e5 100000", "100000us 100000",
                                 "99999999999999999999 100000", "100000 99999999999999999999"}) {
    process("0::/app\n", kV2Mount);
    write("/sys/fs/cgroup/app/cpu.max", text);
    EXPECT_EQ(read().quota_us, 0) << text;
  }
  write("/sys/fs/cgroup/app/cpu.max", std::string(100'000, '9') + " 1");
  EXPECT_EQ(read().quota_us, 0);
}

TEST_F(Quota, OfBrokenTablesIsNone) {
  EXPECT_EQ(read().quota_us, 0);  // no file at all
  write("/sys/fs/cgroup/app/cpu.max", "100000 100000\n");
  const std::string mount = kV2Mount;
  for (size_t n = 0; n + 30 < mount.size(); ++n) {  // cut off before the type's options
    process("0::/app\n", mount.substr(0, n));
    EXPECT_EQ(read().quota_us, 0) << n;
  }
  for (const std::string cgroup : {"", ":", "::", "0:/app", "\n\n", "0:cpu:/app"}) {
    process(cgroup, cgroup == "::" ? "" : kV2Mount);
    EXPECT_EQ(read().quota_us, 0) << cgroup;
  }
  process("0::" + std::string(1 << 19, '/') + "app\n", kV2Mount);
  EXPECT_EQ(read().quota_us, 0);
}

TEST_F(Quota, NeverAsksForMoreThanItsFilesCanSay) {
  process("0::/app\n", kV2Mount);
  write("/sys/fs/cgroup/app/cpu.max", "9223372036854775807 1");
  EXPECT_EQ(read().threads(), INT64_MAX);
  write("/sys/fs/cgroup/app/cpu.max", "1 9223372036854775807");
  EXPECT_EQ(read().threads(), 1);
}

TEST(OwnQuota, IsReadWithoutComplaint) {
  const CpuQuota quota = read_cpu_quota();
  EXPECT_GE(quota.quota_us, 0);
  EXPECT_EQ(quota.quota_us == 0, quota.file.empty());
}

}  // namespace
}  // namespace dsa
