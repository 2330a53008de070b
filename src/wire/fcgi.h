/*
 * fcgi - FastCGI 1.0, bytes to structs and back.
 *
 * A reader takes the bytes of each read and returns them in pieces: the content of a record, or as
 * much of it as has arrived. So it does not matter where the stream was cut, and no record has to
 * fit into a buffer.
 * Owns:      the layout of records and of name-value pairs.
 * Knows not: sockets, requests, which record is allowed when. It does no I/O and keeps no memory.
 * Called by: handlers/cgi.
 * Runs in:   a worker.
 */
#ifndef PREFORKD_WIRE_FCGI_H
#define PREFORKD_WIRE_FCGI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum fcgi_type {
    FCGI_BEGIN_REQUEST = 1,
    FCGI_ABORT_REQUEST,
    FCGI_END_REQUEST,
    FCGI_PARAMS,
    FCGI_STDIN,
    FCGI_STDOUT,
    FCGI_STDERR,
    FCGI_DATA,
    FCGI_GET_VALUES,
    FCGI_GET_VALUES_RESULT,
    FCGI_UNKNOWN_TYPE,
};

enum fcgi_role { FCGI_RESPONDER = 1, FCGI_AUTHORIZER, FCGI_FILTER };

/* The protocolStatus of END_REQUEST. */
enum fcgi_end { FCGI_REQUEST_COMPLETE, FCGI_CANT_MPX_CONN, FCGI_OVERLOADED, FCGI_UNKNOWN_ROLE };

enum {
    FCGI_HEADER = 8,
    FCGI_CONTENT_MAX = 65535,
    FCGI_BODY = 8,    /* of BEGIN_REQUEST, END_REQUEST and UNKNOWN_TYPE */
    FCGI_REPLY = 128, /* most bytes of any record written here, except STDOUT and STDERR */
};

/* Input; reading advances `at`. */
struct fcgi_bytes {
    const unsigned char *at, *end;
};

/* Zeroed at the beginning of a connection. */
struct fcgi_reader {
    unsigned char header[FCGI_HEADER];
    unsigned have;          /* bytes of the header that have arrived */
    unsigned content, skip; /* bytes of content and of padding that have not */
};

/* A part of a record's content. */
struct fcgi_piece {
    uint8_t type;
    uint16_t id;
    const unsigned char *data;
    size_t size;
    bool whole; /* the piece is the whole content: if it is empty, the record ends a stream */
    bool last;  /* the piece ends the content */
};

enum fcgi_found { FCGI_MORE, FCGI_PIECE, FCGI_BROKEN };

/* Takes the next piece. FCGI_MORE: the input is used up without one. FCGI_BROKEN: this is not
 * FastCGI 1. */
enum fcgi_found fcgi_next(struct fcgi_reader *reader, struct fcgi_bytes *in,
                          struct fcgi_piece *piece);

/* Whether the reader is between two records. */
static inline bool fcgi_at_rest(const struct fcgi_reader *reader)
{
    return reader->have == 0 && reader->skip == 0;
}

/* The content of BEGIN_REQUEST. */
struct fcgi_begin {
    uint16_t role;
    bool keep; /* the connection stays open after the request */
};
struct fcgi_begin fcgi_begin(const unsigned char content[static FCGI_BODY]);

struct fcgi_pair {
    const unsigned char *name, *value;
    size_t name_size, value_size;
};

enum fcgi_pair_found { FCGI_PAIR, FCGI_NO_PAIR, FCGI_BROKEN_PAIR };

/* Takes the next name-value pair. FCGI_BROKEN_PAIR: its lengths exceed the input. */
enum fcgi_pair_found fcgi_next_pair(struct fcgi_bytes *in, struct fcgi_pair *pair);

/* Each writes a record, or only its header, and returns the size. No record is padded, so
 * END_REQUEST ends with its own last byte. */
size_t fcgi_put_header(unsigned char *to, enum fcgi_type type, uint16_t id, size_t content);
size_t fcgi_put_end(unsigned char *to, uint16_t id, uint32_t app_status, enum fcgi_end end);
size_t fcgi_put_broken(unsigned char *to); /* with version 0, which does not exist */
size_t fcgi_put_unknown_type(unsigned char *to, uint8_t type);

/* The reply to GET_VALUES, with those of the requested variables that are known. `seats` is the
 * number of connections that are served at once. */
size_t fcgi_put_values(unsigned char *to, struct fcgi_bytes asked, unsigned seats);

#endif
