// How many chunks of prompts a step may take beside tokens that streams wait for.
//
// Learns from the steps so far: what a step of decoding alone takes, and what a chunk adds to it. A
// chunk that took longer counts at once, one that was quicker slowly: chunks get dearer as a
// context grows.
#pragma once

#include <cstdint>

namespace dsa {

class StepBudget {
 public:
  // At least one: prompts have to get on as well.
  int64_t chunks(int64_t n_decoded, double seconds) const;

  // A step of n_decoded sequences that decode and n_chunks chunks (parts of one count as parts).
  void record(int64_t n_decoded, double n_chunks, double seconds);

 private:
  double decode_seconds(int64_t n_decoded) const;

  int64_t n_decoded_ = 0;  // of the latest step without chunks
  double decode_ = 0;      // what it took
  double chunk_ = 0;       // 0: not known
};

}  // namespace dsa
