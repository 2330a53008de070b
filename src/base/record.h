/*
 * record - formats one log event: as a datagram for syslog or the journal, as a plain line, or as a
 * line of JSON. Pure.
 *
 * Owns:      the forms, and the names and message ids of those events that have one.
 * Knows not: where a record goes.
 * Called by: log.
 * Runs in:   every process that logs.
 *
 * A line is a sentence followed by its tail, words KEY=VALUE. The journal and JSON separate the
 * two. Programs, clients and modules may have written part of the sentence, and that part may look
 * like a tail. So if a line begins with "pool NAME: ", that is its pool, and its tail begins with
 * its last "pool=NAME". Otherwise the tail is the KEY=VALUE words that end the line, back to a
 * "pool=" at most.
 */
#ifndef PREFORKD_BASE_RECORD_H
#define PREFORKD_BASE_RECORD_H

#include <sys/types.h>
#include <syslog.h>

enum { LOG_LINE_MAX = 2048 }; /* bytes of a line's text; longer lines are cut */

/* Events that a reader of the journal or of JSON may watch for. */
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

/* Room for the longest form of LOG_LINE_MAX bytes: JSON turns an invalid byte into three. */
enum { RECORD_MAX = 3 * LOG_LINE_MAX + 1024 };

struct record {
    int level, facility;
    enum log_name name;
    const char *ident;
    pid_t pid;        /* of the process that logs */
    const char *text; /* without control characters, at most LOG_LINE_MAX bytes */
};

/* The name of a line that begins with "pool NAME: ". Returns its length; 0: the line begins
 * otherwise. */
int record_pool(const char *text, const char **name);

/* Each writes one form, and returns the length. */
int record_syslog(char to[static RECORD_MAX], const struct record *record);
int record_journal(char to[static RECORD_MAX], const struct record *record);
int record_plain(char to[static RECORD_MAX], const struct record *record);
int record_json(char to[static RECORD_MAX], const struct record *record);

#endif
