/*
 * message - what a client and the master say to each other over the control socket. A connection
 * carries one request and its reply.
 *
 * The request is a line: words with spaces between them, ended by a newline or by the end of what
 * the client sends. It has MESSAGE_WORDS words and MESSAGE_REQUEST_MAX bytes at most, and no
 * control character. Nothing is quoted: no command takes a word that is empty or has a space in it.
 * What comes behind the newline is not read.
 *
 * The reply begins with a line "STATUS OUT ERR". STATUS is a word: "ok", "refused" or "usage". OUT
 * and ERR are numbers: so many bytes for standard output follow, and then so many for standard
 * error. A reply that has fewer bytes was cut off. Nothing is sent before the answer is complete.
 *
 * Owns:      these bytes.
 * Knows not: sockets, and what a word means.
 * Called by: master/client, master/request, ctl.
 * Runs in:   the master, preforkctl.
 */
#ifndef PREFORKD_WIRE_MESSAGE_H
#define PREFORKD_WIRE_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>

enum {
    MESSAGE_REQUEST_MAX = 4096,
    MESSAGE_WORDS = 16,
    MESSAGE_HEAD = 48, /* room for the first line of a reply, its newline and a NUL */
};

/* The status that preforkctl exits with. */
enum message_status {
    MESSAGE_DONE = 0,
    MESSAGE_REFUSED = 1,
    MESSAGE_USAGE = 2,
    MESSAGE_NOBODY = 3, /* said by preforkctl alone: no daemon is running there */
};

struct message_request {
    int count; /* 0: the line is empty */
    const char *words[MESSAGE_WORDS];
};

/* Splits the request that is in the first `size` bytes. `bytes` has room for one more. `ended`: no
 * more bytes come. The length of the request, whose words then point into `bytes`; 0 if more bytes
 * must come (never if MESSAGE_REQUEST_MAX bytes are there, nor at the end of 1 or more); -E2BIG if
 * it is too long; -EBADMSG if it has a control character. */
int message_read_request(struct message_request *request, char *bytes, size_t size, bool ended);

/* Writes a request. Its length; -E2BIG if it is too long; -EBADMSG if a word is empty, or has a
 * space or a control character. */
int message_write_request(const struct message_request *request,
                          char bytes[static MESSAGE_REQUEST_MAX]);

struct message_head {
    enum message_status status;
    size_t out, err;
};

/* Writes the first line of a reply. Its length. */
int message_write_head(const struct message_head *head, char line[static MESSAGE_HEAD]);

/* Reads it. Its length; 0 if more bytes must come; -EPROTO if it is none. */
int message_read_head(struct message_head *head, const char *bytes, size_t size);

struct usage {
    const char *word;
    const char *arguments; /* "POOL N"; those in brackets may be left out */
    const char *help;
    const char *example; /* a command line; NULL: none is needed */
    bool is_local;       /* preforkctl carries it out without the daemon's control socket */
};

/* Ended by a row without a word. */
extern const struct usage usage_table[];

const struct usage *usage_find(const char *word); /* NULL: none */

/* Whether so many arguments are as many as it takes. */
bool usage_fits(const struct usage *usage, int count);

/* Writes the word, its arguments and its help: a line of a list, without a newline. */
enum { USAGE_LINE = 120 };
const char *usage_line(const struct usage *usage, char line[static USAGE_LINE]);

#endif
