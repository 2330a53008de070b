/*
 * message - what preforkctl and the master say to each other over the control socket, as bytes.
 *
 * A connection carries one request and its reply.
 *
 * The request is
 *     4 bytes   the number of bytes that follow, network order
 *     1 byte    flags: MESSAGE_JSON, the answer is wanted as JSON; MESSAGE_COLOUR, it goes to a
 *               terminal that shows colours; no other bit may be set
 *     words     each ended by a NUL: the command and its arguments, 1 to MESSAGE_WORDS of them
 * and has MESSAGE_REQUEST_MAX bytes at most, all counted. What comes behind it is not read.
 *
 * The reply is a sequence of frames:
 *     1 byte    its type: MESSAGE_OUT, MESSAGE_ERR, MESSAGE_EXIT
 *     4 bytes   the number of bytes that follow, network order
 *     bytes     text for standard output or standard error; of MESSAGE_EXIT, which is the last one,
 *               one byte: the status to exit with
 * A client passes over types that it doesn't know. A reply without MESSAGE_EXIT was cut off.
 *
 * Owns:      these bytes.
 * Knows not: sockets, and what a word means.
 * Called by: master/client, ctl.
 * Runs in:   the master, preforkctl.
 */
#ifndef PREFORKD_WIRE_MESSAGE_H
#define PREFORKD_WIRE_MESSAGE_H

#include <stddef.h>
#include <stdint.h>

enum {
    MESSAGE_REQUEST_MAX = 4096,
    MESSAGE_WORDS = 16,
    MESSAGE_HEAD = 5, /* bytes of a frame before its own */
};

enum message_flag { MESSAGE_JSON = 1, MESSAGE_COLOUR = 2 };

enum message_type { MESSAGE_OUT = 'o', MESSAGE_ERR = 'e', MESSAGE_EXIT = 'x' };

/* The status that preforkctl exits with. */
enum message_status {
    MESSAGE_DONE = 0,
    MESSAGE_REFUSED = 1,
    MESSAGE_USAGE = 2,
    MESSAGE_NOBODY = 3, /* said by preforkctl alone: no daemon there */
};

struct message_request {
    unsigned flags;
    int count;
    const char *words[MESSAGE_WORDS];
};

/* Reads a request from the bytes that are there, into which its words then point. Its length; 0
 * where more must come; -EPROTO where it can't become one. */
int message_read_request(struct message_request *request, const void *bytes, size_t size);

/* Writes one. Its length, or -E2BIG. */
int message_write_request(const struct message_request *request,
                          uint8_t bytes[static MESSAGE_REQUEST_MAX]);

struct message_frame {
    uint8_t type;
    uint32_t length;
};

void message_write_head(const struct message_frame *frame, uint8_t head[static MESSAGE_HEAD]);
void message_read_head(struct message_frame *frame, const uint8_t head[static MESSAGE_HEAD]);

#endif
