/*
 * log - one line for each event, to syslog or the journal, and to standard error if asked. Control
 * characters are escaped.
 *
 * It sends the datagrams of syslog(3) itself, because syslog(3) blocks while the syslog daemon
 * hangs, and the master must not block. It sends the journal's itself for the same reason:
 * sd_journal_sendv(3) uses a blocking socket that all threads and forked children would share.
 * Functions that return an error don't log it. A forked child uses no socket of its parent's: a
 * process that shares an open socket can connect it elsewhere, or make it block. So a child opens
 * its own socket for its first line.
 */
#ifndef PREFORKD_BASE_LOG_H
#define PREFORKD_BASE_LOG_H

#include "clock.h"
#include "record.h"

#include <stdarg.h>
#include <stdbool.h>
#include <syslog.h>

/* Starts the log; to standard error too if asked, or if there is no syslog. The facility is
 * `daemon` and the level `notice` until log_configure sets them. */
void log_open(const char *ident, bool to_stderr);

/* Whether err lines go to standard error in any case: until the daemon serves. Not if standard
 * error is the journal, which gets them by syslog. */
void log_errors_to_stderr(bool wanted);

/* Keeps standard error from all children: some process waits for its end of file (preforkd -d). */
void log_withhold_stderr(void);

/* In a forked child, before it changes its user: from here on the log uses only the descriptors
 * that log_descriptors returns. `cut_off`: the child will not find /dev/log later, so it connects
 * now. */
void log_enter_child(bool cut_off);

/* Gives up standard error, which a detaching daemon is about to close. */
void log_leave_stderr(void);

/* Applies the configuration's log section. The ident is copied. `json` is about standard error. */
void log_configure(const char *ident, int facility, int level, bool json);

/* Lists the descriptors that a child must keep open to log; returns their number, at most 2. */
int log_descriptors(int fds[static 2]);

/* Whether a line of this level (LOG_ERR ... LOG_DEBUG) is written at all. */
bool log_wanted(int level);

void log_named(enum log_name name, int level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define log_event(...)   log_named(LOG_NAME_NONE, __VA_ARGS__)
#define log_err(...)     log_event(LOG_ERR, __VA_ARGS__)
#define log_warning(...) log_event(LOG_WARNING, __VA_ARGS__)
#define log_notice(...)  log_event(LOG_NOTICE, __VA_ARGS__)
#define log_info(...)    log_event(LOG_INFO, __VA_ARGS__)
#define log_debug(...)   log_event(LOG_DEBUG, __VA_ARGS__)

/* Limits a recurring warning to once an interval, over all threads. */
struct log_rate {
    _Atomic usec next;       /* the next line may come then */
    _Atomic unsigned missed; /* lines suppressed since the last one */
};

/* Whether the warning may be logged now. If so, *missed is how often it was suppressed. */
bool log_rate_ok(struct log_rate *rate, usec interval, unsigned *missed);

/* Copies a text of a program or a client, to be logged in quotes as the value of a pair. What would
 * end the value, or look like the first pair of a line, becomes \xNN. Returns `to`, which is cut if
 * `size` is too small. */
char *log_value(char *to, size_t size, const char *from);

enum { LOG_POOL_PAIR = 48 }; /* bytes for the pair of a pool */

/* Writes " pool=NAME" if the sentence begins with "pool NAME: ", else nothing: for a line that says
 * something before that sentence. Returns `to`. */
const char *log_pool_pair(char to[static LOG_POOL_PAIR], const char *sentence);

/* Room for a text of this size as a value, in which nothing is cut. */
#define LOG_QUOTED(size) (4 * (size) + 2)

/* Copies a path, or another text from the configuration, to be logged as the value of a pair: in
 * quotes if it has a blank or a quote, and then as log_value does. Returns `to`. */
char *log_quoted(char *to, size_t size, const char *from);

#endif
