#include "server/host_name.h"

#include <gtest/gtest.h>

#include <string>

#include "server/api_keys.h"

namespace server {
namespace {

TEST(HostName, IsComparedWithoutCasePortAndFinalDot) {
  EXPECT_EQ(host_name("Example.ORG"), "example.org");
  EXPECT_EQ(host_name("example.org:8080"), "example.org");
  EXPECT_EQ(host_name("example.org.:443"), "example.org");
  EXPECT_EQ(host_name("example.org:"), "example.org");
  EXPECT_EQ(host_name("a_b.example"), "a_b.example");
  EXPECT_EQ(host_name("[0:0:0:0:0:0:0:1]:80"), "[::1]");
  EXPECT_EQ(host_name("[::FFFF]"), "[::ffff]");
  EXPECT_EQ(host_name(""), "");
}

TEST(HostName, WhatIsNoHostHasNone) {
  for (const char* wrong : {"a b", "a/b", "user@host", "host:80x", "::1", "[::1", "[x]", "[::1]x",
                            "http://host", "host\\x", "a,b:1:2", "h\xC3\xA9"}) {
    EXPECT_EQ(host_name(wrong), std::nullopt) << wrong;
  }
}

TEST(HostName, LocalNamesAreThoseThatNobodyElseCanHave) {
  for (const char* local : {"", "localhost", "app.localhost", "[::1]", "127.0.0.1", "127.1.2.3"})
    EXPECT_TRUE(is_local_name(local)) << local;
  for (const char* other : {"localhost.example", "127.0.0.1.example", "127.example.org", "10.0.0.1",
                            "127.0.0", "[::2]", "notlocalhost", ".localhost"}) {
    EXPECT_FALSE(is_local_name(other)) << other;
  }
}

TEST(ReadTarget, IsAPathOrAWholeUri) {
  EXPECT_EQ(read_target("/v1/models?a=b").path, "/v1/models");
  EXPECT_FALSE(read_target("/v1/models").authority);
  EXPECT_EQ(read_target("http://localhost:80/v1/models?x=/y").path, "/v1/models");
  EXPECT_EQ(read_target("http://localhost:80/v1/models").authority, "localhost:80");
  EXPECT_EQ(read_target("HTTPS://h").path, "/");
  EXPECT_EQ(read_target("http://h?q").authority, "h");
  EXPECT_EQ(read_target("/a?u=http://evil/b").path, "/a");
  EXPECT_FALSE(read_target("/a?u=http://evil/b").authority);
  EXPECT_FALSE(read_target("/http://evil/b").authority);
  EXPECT_EQ(read_target("ftp://h/x").path, "ftp://h/x");
  EXPECT_EQ(read_target("*").path, "*");
}

TEST(EndpointPath, SlashesAndTheVersionDoNotTellEndpointsApart) {
  for (const char* path :
       {"/v1/chat/completions", "/v1/chat/completions/", "//v1/chat/completions",
        "/chat/completions", "/v1/v1/chat/completions", "/v1//chat//completions//"}) {
    EXPECT_EQ(endpoint_path(path), "/chat/completions") << path;
  }
  EXPECT_EQ(endpoint_path("/"), "/");
  EXPECT_EQ(endpoint_path("/v1"), "/v1");
  EXPECT_EQ(endpoint_path("/v10/models"), "/v10/models");
  EXPECT_EQ(endpoint_path("/v1/models/v1/x"), "/models/v1/x");
}

TEST(ApiKeys, TheSchemeIsWrittenInAnyCase) {
  EXPECT_EQ(ApiKeys::key_in("Bearer k"), "k");
  EXPECT_EQ(ApiKeys::key_in("bearer k"), "k");
  EXPECT_EQ(ApiKeys::key_in("BEARER  k"), "k");
  for (const char* none : {"", "k", "Bearer", "Bearer ", "Bearer   ", "Basic k", "Bearerk"})
    EXPECT_EQ(ApiKeys::key_in(none), "") << none;
}

}  // namespace
}  // namespace server
