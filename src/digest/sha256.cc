#include "digest/sha256.h"

#include <openssl/evp.h>

#include <bit>
#include <new>

namespace dsa {

static_assert(std::endian::native == std::endian::little);

namespace {

EVP_MD_CTX* as_context(void* context) {
  return static_cast<EVP_MD_CTX*>(context);
}

// The hash has no failures of its own: what is left is that memory cannot be had.
void check(int done) {
  if (done != 1) throw std::bad_alloc();
}

}  // namespace

void Sha256::Free::operator()(void* context) const {
  EVP_MD_CTX_free(as_context(context));
}

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  check(context_ != nullptr ? 1 : 0);
  check(EVP_DigestInit_ex(as_context(context_.get()), EVP_sha256(), nullptr));
}

void Sha256::add(std::span<const uint8_t> bytes) {
  check(EVP_DigestUpdate(as_context(context_.get()), bytes.data(), bytes.size()));
}

void Sha256::add(std::string_view text) {
  add(std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size()));
}

void Sha256::add(std::span<const int32_t> values) {
  add(std::span(reinterpret_cast<const uint8_t*>(values.data()), values.size_bytes()));
}

Digest Sha256::finish() {
  Digest digest = {};
  check(EVP_DigestFinal_ex(as_context(context_.get()), digest.data(), nullptr));
  check(EVP_DigestInit_ex(as_context(context_.get()), EVP_sha256(), nullptr));
  return digest;
}

std::string to_hex(const Digest& digest) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const uint8_t byte : digest) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

}  // namespace dsa
