/*
 * log - one line an event, to syslog or the journal and, if asked, to standard error; control
 * characters are escaped.
 *
 * It speaks the datagrams of syslog(3) itself, because syslog(3) blocks for as long as the syslog
 * daemon hangs, and a master must not; and the journal's for the same reason: sd_journal_sendv(3)
 * sends on a blocking socket, which all threads and forked children would share. Functions that
 * return an error don't log it. A forked child uses nothing of its parent's: a process that shares
 * an open socket may connect it elsewhere, or make it block; so a child opens its own, with its
 * first line.
 */
#ifndef PREFORKD_BASE_LOG_H
#define PREFORKD_BASE_LOG_H

#include "clock.h"
#include "record.h"

#include <stdarg.h>
#include <stdbool.h>
#include <syslog.h>

/* Starts: to standard error if asked or if there is no syslog. Lines are `daemon` and `notice`
 * until log_configure says otherwise. */
void log_open(const char *ident, bool to_stderr);

/* Whether err lines go to standard error although it was not asked for: until the daemon serves.
 * Not if that is the journal, which has them by syslog already. */
void log_errors_to_stderr(bool wanted);

/* A process waits for the end of standard error (preforkd -d): no child may have it. */
void log_lend_no_stderr(void);

/* In a forked child, before it changes its user: from here on only what log_descriptors names is
 * used. `cut_off`: it will not find /dev/log any more, so that it connects now. */
void log_enter_child(bool cut_off);

/* Gives up standard error, because it is about to be closed (a daemon that detaches). */
void log_leave_stderr(void);

/* What the configuration's log section says. The ident is copied. `json`: on standard error. */
void log_configure(const char *ident, int facility, int level, bool json);

/* The descriptors that a child must keep to go on logging; returns how many, at most 2. */
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

/* A warning that may recur, said at most once an interval, whichever thread says it. */
struct log_rate {
    _Atomic usec next;       /* not before then */
    _Atomic unsigned missed; /* since the last time that it was said */
};

/* Whether it may be said now. If so, *missed is how often it was not said meanwhile. */
bool log_rate_ok(struct log_rate *rate, usec interval, unsigned *missed);

/* Copies text with control characters, and bytes that are no UTF-8 lead to worry about, as \xNN.
 * Returns the length written, always closed by a NUL. */
int log_escape(char *to, int size, const char *from, int length);

#endif
