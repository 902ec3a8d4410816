#include "cli/interrupt.h"

#include <signal.h>

#include <csignal>

namespace cli {
namespace {

volatile std::sig_atomic_t g_interrupted = 0;

extern "C" void on_interrupt(int) {
  g_interrupted = 1;
}

}  // namespace

void install_signal_handlers() {
  struct sigaction inherited = {};
  sigaction(SIGINT, nullptr, &inherited);
  if (inherited.sa_handler != SIG_IGN) {  // ignored: nohup and background jobs want to go on
    struct sigaction action = {};
    action.sa_handler = on_interrupt;
    action.sa_flags = static_cast<int>(SA_RESETHAND);  // no SA_RESTART: reads must end
    sigaction(SIGINT, &action, nullptr);
  }
  std::signal(SIGPIPE, SIG_DFL);
}

bool interrupted() {
  return g_interrupted != 0;
}

}  // namespace cli
