#include "cgi_answer.h"

#include "cgi_header.h"

#include <stdalign.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

/* The longest header is a record's content, as it goes out. The rest is for what is held back, which is
 * much for few requests: the memory for it is given back after each of those. */
enum {
    HEADER_MAX = CGI_OUTPUT - CGI_HEADER_MORE,
    HELD_MAX = 8 * 1024 * 1024,
    HELD_KEPT = 256 * 1024,
};

static alignas(4096) char held[HELD_MAX];

void *cgi_answer_room(struct cgi_answer *answer, size_t *room)
{
    if (answer->begun) {
        *room = CGI_OUTPUT;
        return cgi_session_room(answer->session);
    }
    *room = sizeof held - answer->size;
    return held + answer->size;
}

void cgi_answer_done(const struct cgi_answer *answer)
{
    if (answer->size > HELD_KEPT)
        madvise(held + HELD_KEPT, sizeof held - HELD_KEPT, MADV_DONTNEED);
}

bool cgi_answer_full(const struct cgi_answer *answer)
{
    return answer->size == sizeof held;
}

/* Of an answer to HEAD no body goes out (RFC 3875, 4.3.3): HAProxy takes one for a fault. The program
 * may write it all the same. */
static void leave_body_out(struct cgi_answer *answer)
{
    if (answer->head_only && answer->header)
        answer->size = answer->header;
}

static const char *collect(struct cgi_answer *answer, size_t size)
{
    size_t before = answer->size;
    answer->size += size;
    if (answer->header) {
        leave_body_out(answer);
        return NULL;
    }
    answer->header = cgi_header_size(held, answer->size, before);
    if (answer->header > HEADER_MAX || (!answer->header && answer->size > HEADER_MAX))
        return "has a header longer than 64 KiB";
    leave_body_out(answer);
    return answer->header ? cgi_header_fault(held, answer->header) : NULL;
}

const char *cgi_answer_add(struct cgi_answer *answer, size_t size)
{
    if (!answer->begun)
        return collect(answer, size);
    if (answer->head_only || size == 0)
        return NULL;
    cgi_session_put(answer->session, FCGI_STDOUT, size);
    answer->sent += (long long)size;
    return NULL;
}

/* The size of the header as it goes out. */
static size_t begin(struct cgi_answer *answer, char *to)
{
    answer->begun = true;
    answer->put = answer->header;
    answer->nph = cgi_header_is_nph(held, answer->header);
    answer->promised = answer->head_only ? 0 : cgi_header_length(held, answer->header);
    return cgi_header_copy(to, held, answer->header);
}

void cgi_answer_put(struct cgi_answer *answer)
{
    char *to = (char *)cgi_session_room(answer->session);
    size_t header = answer->begun ? 0 : begin(answer, to);
    size_t body = answer->size - answer->put, room = CGI_OUTPUT - header;
    if (body > room)
        body = room;
    memcpy(to + header, held + answer->put, body);
    cgi_session_put(answer->session, FCGI_STDOUT, header + body);
    answer->put += body;
    answer->sent += (long long)body;
}

static const char *reason_of(int status)
{
    switch (status) {
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 431: return "Request Header Fields Too Large";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    default: return "Internal Server Error";
    }
}

void cgi_answer_put_status(struct cgi_session *session, int status)
{
    enum { ROOM = 256 };
    const char *reason = reason_of(status);
    int size = snprintf((char *)cgi_session_room(session), ROOM,
                        "Status: %d %s\r\nContent-Type: text/plain\r\n%s\r\n%d %s\n", status,
                        reason, status == 503 ? "Retry-After: 5\r\n" : "", status, reason);
    cgi_session_put(session, FCGI_STDOUT, (size_t)size);
}
