/*
 * record - one event of the log in the forms of its readers: syslog's datagram, the journal's, a
 * line, a line of JSON. Pure.
 *
 * Owns:      the forms, and the names and message ids of the events that have some.
 * Knows not: where a record goes.
 * Called by: log.
 * Runs in:   every process that logs.
 *
 * A line is a sentence, and behind it words KEY=VALUE, its tail. The journal and JSON have them
 * apart. Programs, clients and modules may have written a part of the sentence, and one of them may
 * look like a tail. So the pool is that of "pool NAME: " at the beginning, and the tail of such a
 * line begins with its last "pool=NAME"; if a line does not begin so, its tail is what it ends
 * with, and nothing before a "pool=" belongs to it.
 */
#ifndef PREFORKD_BASE_RECORD_H
#define PREFORKD_BASE_RECORD_H

#include <sys/types.h>
#include <syslog.h>

enum { LOG_LINE_MAX = 2048 }; /* bytes of a line's text; the rest is cut */

/* What a program that reads the journal, or JSON, may wait for. */
enum log_name {
    LOG_NAME_NONE,
    LOG_NAME_START,
    LOG_NAME_READY,
    LOG_NAME_RELOAD,
    LOG_NAME_REFUSED,
    LOG_NAME_DEATH,
    LOG_NAME_BACK_OFF,
    LOG_NAME_FULL,
    LOG_NAME_OVERLOAD,
    LOG_NAMES
};

/* The longest form of a text of LOG_LINE_MAX bytes: in JSON, a byte that is no UTF-8 has three. */
enum { RECORD_MAX = 3 * LOG_LINE_MAX + 1024 };

struct record {
    int level, facility;
    enum log_name name;
    const char *ident;
    pid_t pid;        /* of the process that writes */
    const char *text; /* without control characters, at most LOG_LINE_MAX bytes */
};

/* Each writes one form, and returns its length. */
int record_syslog(char to[static RECORD_MAX], const struct record *record);
int record_journal(char to[static RECORD_MAX], const struct record *record);
int record_plain(char to[static RECORD_MAX], const struct record *record);
int record_json(char to[static RECORD_MAX], const struct record *record);

#endif
