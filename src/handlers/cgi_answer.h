/*
 * cgi_answer - a program's answer on its way from the pipe to records: the header is collected,
 * checked and translated, and the beginning held back if the web server can't take it yet.
 *
 * The memory for that is static: each worker has one answer at a time.
 */
#ifndef PREFORKD_HANDLERS_CGI_ANSWER_H
#define PREFORKD_HANDLERS_CGI_ANSWER_H

#include "cgi_session.h"

#include <stdbool.h>
#include <stddef.h>

/* The size of the header that the text begins with, its empty line included; 0: it is not complete.
 * The first `from` bytes were searched before. */
size_t cgi_header_size(const char *text, size_t size, size_t from);

/* What is wrong with a header: NULL, or a few words for the log. */
const char *cgi_header_fault(const char *text, size_t size);

/* The Content-Length that a header announces; -1: none. */
long long cgi_header_length(const char *text, size_t size);

/* Whether the header is that of an HTTP answer. */
bool cgi_header_is_nph(const char *text, size_t size);

/* Copies a header, translated for the web server, with lines that end in LF; it may grow by up to
 * CGI_HEADER_MORE bytes. Returns its size. */
enum { CGI_HEADER_MORE = 32 };
size_t cgi_header_copy(char *to, const char *text, size_t size);

/* At the beginning of a request all is zero but `session`, and `promised`, which is -1. */
struct cgi_answer {
    struct cgi_session *session;
    size_t size;              /* bytes collected before the answer began */
    size_t put;               /* those of them that are in records */
    size_t header;            /* its bytes; 0: not complete */
    bool bodyless;            /* no body is sent, whatever the program writes */
    bool begun;               /* the header is in a record */
    bool nph;                 /* the header was that of an HTTP answer, and was translated */
    long long promised, sent; /* bytes of the body; promised -1: the header does not say */
};

/* cgi_answer_room: where to read the program's output to, and how much. cgi_answer_add: `size`
 * bytes were read there; NULL, or what is wrong with the header, in a few words. */
void *cgi_answer_room(struct cgi_answer *answer, size_t *room);
const char *cgi_answer_add(struct cgi_answer *answer, size_t size);

/* Whether collected bytes wait to be put into a record. Once the answer has begun, nothing else may
 * be read before that. */
static inline bool cgi_answer_pending(const struct cgi_answer *answer)
{
    return answer->header && answer->put < answer->size;
}

/* Whether there is no more room to hold the answer back. */
bool cgi_answer_full(const struct cgi_answer *answer);

/* Puts the next record of collected bytes into the output, which must not contain one. */
void cgi_answer_put(struct cgi_answer *answer);

/* The request is over: gives the memory of collected bytes back. */
void cgi_answer_done(const struct cgi_answer *answer);

/* Puts an answer into the output that says no more than a status; to a HEAD, without a body. */
void cgi_answer_put_status(struct cgi_session *session, int status);

#endif
