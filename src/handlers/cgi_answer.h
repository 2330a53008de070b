/*
 * cgi_answer - a program's answer on its way from the pipe to records: its header collected,
 * checked and translated, its beginning held back if the web server can't take it yet.
 *
 * The memory for that is there once in a worker.
 */
#ifndef PREFORKD_HANDLERS_CGI_ANSWER_H
#define PREFORKD_HANDLERS_CGI_ANSWER_H

#include "cgi_session.h"

#include <stdbool.h>
#include <stddef.h>

/* The size of the header with its empty line, of which the text is the beginning; 0 if that has
 * not come yet. In what stands before `from` it was looked for already. */
size_t cgi_header_size(const char *text, size_t size, size_t from);

/* What is wrong with a header: NULL, or a few words for the log. */
const char *cgi_header_fault(const char *text, size_t size);

/* How long the body is that it announces; -1 if it doesn't say. */
long long cgi_header_length(const char *text, size_t size);

/* Whether it is an HTTP answer's. */
bool cgi_header_is_nph(const char *text, size_t size);

/* Copies it as the web server wants it, by up to CGI_HEADER_MORE bytes longer than it was. The size
 * that it has. */
enum { CGI_HEADER_MORE = 32 };
size_t cgi_header_copy(char *to, const char *text, size_t size);

/* Zeroed but for the first two, and `promised`, which is -1, at the beginning of a request. */
struct cgi_answer {
    struct cgi_session *session;
    bool head_only;           /* no body is wanted: the request is a HEAD */
    size_t size;              /* bytes collected before the answer began, */
    size_t put;               /* and of them those that are in records */
    size_t header;            /* bytes of the header; 0: it is not complete */
    bool begun;               /* the header is in a record */
    bool nph;                 /* it was translated */
    long long promised, sent; /* bytes of the body; -1: the header doesn't say how many */
};

/* Where bytes of the program may be read to, and how many; then that `size` of them are there.
 * NULL, or what is wrong with the header, in a few words. */
void *cgi_answer_room(struct cgi_answer *answer, size_t *room);
const char *cgi_answer_add(struct cgi_answer *answer, size_t size);

/* Whether something was collected that can be put into a record: nothing else may be read before,
 * once the answer has begun. */
static inline bool cgi_answer_waits(const struct cgi_answer *answer)
{
    return answer->header && answer->put < answer->size;
}

/* Whether it can be held back no longer for want of room. */
bool cgi_answer_full(const struct cgi_answer *answer);

/* Puts the next record of what was collected into the output, which must be empty of such. */
void cgi_answer_put(struct cgi_answer *answer);

/* The request is over: nothing of what was collected is wanted any more. */
void cgi_answer_done(const struct cgi_answer *answer);

/* Puts an answer that tells no more than a status into the output. */
void cgi_answer_put_status(struct cgi_session *session, int status);

#endif
