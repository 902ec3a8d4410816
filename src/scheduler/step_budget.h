// What may be computed before streams get their next tokens: whole chunks of prompts, or parts of
// one.
//
// Learns from the steps so far: what a step of decoding alone takes, and what a chunk adds to it. A
// chunk that took longer counts at once, one that was quicker slowly: chunks get dearer as a
// context grows.
#pragma once

#include <cstdint>

namespace dsa::scheduler {

class StepBudget {
 public:
  // Chunks that fit into a step together with n_decoded decoding sequences; 1 while their cost is
  // not known.
  int64_t chunks(int64_t n_decoded, double seconds) const;

  // Whether streams that have waited so long get their tokens before the next part of a chunk.
  bool decode_now(double waited, double seconds) const;

  // A step of n_decoded sequences that decode and n_chunks chunks (parts of one count as parts).
  void record(int64_t n_decoded, double n_chunks, double seconds);
  void record_part(double seconds);

 private:
  double decode_seconds(int64_t n_decoded) const;

  int64_t n_decoded_ = 0;  // of the latest step without chunks
  double decode_ = 0;      // what it took
  double chunk_ = 0;       // 0: not known
  double part_ = 0;        // likewise: an attention or feed-forward half of a layer
};

}  // namespace dsa::scheduler
