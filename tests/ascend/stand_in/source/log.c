// The log: a line per call in the file $STAND_IN_LOG.<process>, written at once, as a process may
// end in any way.
#define _GNU_SOURCE
#include "stand_in.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

// A line longer than this is cut.
#define LONGEST_LINE 32768

static int file_of(pid_t process) {
    static pid_t opened_by;
    static int file = -1;
    // After a fork the child has a file of its own.
    if (__atomic_load_n(&opened_by, __ATOMIC_ACQUIRE) == process) return file;
    const char *prefix = getenv("STAND_IN_LOG");
    char path[4096];
    if (prefix == NULL) return -1;
    snprintf(path, sizeof path, "%s.%d", prefix, process);
    file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    __atomic_store_n(&opened_by, process, __ATOMIC_RELEASE);
    return file;
}

void stand_in_log(const char *format, ...) {
    static __thread char line[LONGEST_LINE];
    int file = file_of(getpid());
    if (file < 0) return;
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line - 1, format, arguments);
    va_end(arguments);
    if (length > (int)sizeof line - 2) length = sizeof line - 2;
    line[length] = '\n';
    // One call, appended: the lines of several threads do not mix.
    if (write(file, line, length + 1) < 0) return;
}

// For checks: what a program does between two marks belongs together.
void stand_in_mark(const char *text) { stand_in_log("MARK %s", text); }

void stand_in_called(const char *name) { stand_in_log("CALL %s", name); }
