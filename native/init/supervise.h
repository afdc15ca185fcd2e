// A parent that starts a program again when it is killed.
#pragma once

namespace nsbox {

// Runs `command` (a path and arguments, ended by a null pointer) until it ends by itself with exit code 0. Killed or
// failed, it is started again after a pause of 50 ms that doubles up to 5 s; ten failures within 10 s of their start,
// one after another, end this. SIGTERM is handed on and ends it with the program.
//
// Who runs this: a child of the runtime, detached, with the caller's rights in the host's namespaces. The program gets
// SIGUSR2 when this process dies, so that it can see to another.
// Returns the exit code.
int Supervise(char** command);

}  // namespace nsbox
