// Ctrl-C: the first one asks for a clean stop, a second one ends the process.
#pragma once

namespace cli {

// Also restores the default of SIGPIPE: a reader that went away ends the process quietly.
void install_signal_handlers();

// True once Ctrl-C was pressed. Blocking reads end early then.
bool interrupted();

}  // namespace cli
