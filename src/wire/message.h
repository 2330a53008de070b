/*
 * message - the protocol of the control socket, and the table of the commands. A connection carries
 * one request and its reply.
 *
 * The request is a line of words separated by spaces. A newline or the end of the stream ends it;
 * bytes behind the newline are not read. It has at most MESSAGE_WORDS words and MESSAGE_REQUEST_MAX
 * bytes, and no control character. There is no quoting, because no command takes a word that is
 * empty or contains a space.
 *
 * The reply begins with a line "STATUS OUT ERR". STATUS is "ok", "refused" or "usage". OUT and ERR
 * are numbers: OUT bytes for standard output follow, then ERR bytes for standard error. A reply
 * with fewer bytes was cut off. The master sends nothing before the reply is complete.
 *
 * Knows not: sockets, how a command is carried out.
 * Called by: master/control, master/request, master/commands, ctl.
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

/* The exit status of preforkctl. */
enum message_status {
    MESSAGE_DONE = 0,
    MESSAGE_REFUSED = 1,
    MESSAGE_USAGE = 2,
    MESSAGE_NOBODY = 3, /* never in a reply: no daemon is listening */
};

struct message_request {
    int count; /* 0: the line is empty */
    const char *words[MESSAGE_WORDS];
};

/* Splits the request at the beginning of `bytes`. `bytes` has room for `size` bytes and one more.
 * `ended`: the stream ended. Returns the length of the request, whose words point into `bytes`; 0
 * if the request is not complete (never if `size` is MESSAGE_REQUEST_MAX, or if the stream ended
 * behind at least one byte); -E2BIG if it is too long; -EBADMSG if it has a control character. */
int message_read_request(struct message_request *request, char *bytes, size_t size, bool ended);

/* Writes a request. Returns its length; -E2BIG if it is too long; -EBADMSG if a word is empty or
 * contains a space or a control character. */
int message_write_request(const struct message_request *request,
                          char bytes[static MESSAGE_REQUEST_MAX]);

struct message_head {
    enum message_status status;
    size_t out, err;
};

/* Writes the first line of a reply, and returns its length. */
int message_write_head(const struct message_head *head, char line[static MESSAGE_HEAD]);

/* Reads the first line of a reply. Returns its length; 0 if it is not complete; -EPROTO if it is
 * not such a line. */
int message_read_head(struct message_head *head, const char *bytes, size_t size);

/* A command: how it is written, and what it does. */
struct usage {
    const char *word;
    const char *arguments; /* "POOL N"; those in brackets are optional */
    const char *help;
    const char *example; /* a command line; NULL: none is needed */
};

/* Ended by a row without a word. */
extern const struct usage usage_table[];

const struct usage *usage_find(const char *word); /* NULL: unknown */

/* Checks the words of a request without --json. If there is no such command, or it does not take
 * these arguments, writes the reason and returns false. */
enum { USAGE_WHY = 200 };
bool usage_accepts(const struct message_request *request, char why[static USAGE_WHY]);

/* Writes that there is no such command. */
void usage_unknown(const char *word, char why[static USAGE_WHY]);

/* Writes the word, its arguments and its help as one line of a list, without a newline. */
enum { USAGE_LINE = 120 };
const char *usage_line(const struct usage *usage, char line[static USAGE_LINE]);

#endif
