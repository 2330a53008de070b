#include "cgi_answer.h"

#include <ctype.h>
#include <stdalign.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>

/* A line without its end. */
struct line {
    const char *text;
    size_t size;
};

/* Takes the next line; the text must end with a newline. */
static struct line next_line(const char **at, const char *end)
{
    const char *newline = memchr(*at, '\n', (size_t)(end - *at));
    struct line line = {*at, (size_t)(newline - *at)};
    *at = newline + 1;
    if (line.size && line.text[line.size - 1] == '\r')
        line.size--;
    return line;
}

size_t cgi_header_size(const char *text, size_t size, size_t from)
{
    const char *end = text + size;
    /* The empty line may start in the last two bytes of the previous search: LF, or LF CR. */
    const char *at = text + (from > 2 ? from - 2 : 0);
    if (size >= 1 && text[0] == '\n')
        return 1;
    if (size >= 2 && text[0] == '\r' && text[1] == '\n')
        return 2;
    while ((at = memchr(at, '\n', (size_t)(end - at)))) {
        at++;
        if (at < end && at[0] == '\n')
            return (size_t)(at + 1 - text);
        if (at + 1 < end && at[0] == '\r' && at[1] == '\n')
            return (size_t)(at + 2 - text);
    }
    return 0;
}

/* The length of the field's name, a token (RFC 9110, 5.6.2); 0: the line is no field. */
static size_t name_size(const struct line *line)
{
    static const char others[] = "!#$%&'*+-.^_`|~";
    const char *c = line->text;
    size_t size = 0;
    for (; size < line->size && (isalnum((unsigned char)*c) || (*c && strchr(others, *c))); c++)
        size++;
    return size < line->size && line->text[size] == ':' ? size : 0;
}

static bool has_name(const struct line *line, const char *name)
{
    size_t size = strlen(name);
    return name_size(line) == size && strncasecmp(line->text, name, size) == 0;
}

enum { VERSION_SIZE = sizeof "HTTP/0.0 " - 1 };

static bool is_status_line(const struct line *line)
{
    static const char form[] = "HTTP/0.0 000";
    if (line->size < sizeof form - 1)
        return false;
    for (size_t i = 0; i < sizeof form - 1; i++)
        if (form[i] == '0' ? !isdigit((unsigned char)line->text[i]) : line->text[i] != form[i])
            return false;
    return true;
}

bool cgi_header_is_nph(const char *text, size_t size)
{
    struct line first = next_line(&text, text + size);
    return is_status_line(&first);
}

/* Which fields there must be is not checked; that is between the program and the web server:
 * X-Sendfile alone is an answer, and so is a cookie. */
const char *cgi_header_fault(const char *text, size_t size)
{
    const char *at = text, *end = text + size;
    struct line line = next_line(&at, end);
    if (line.size == 0)
        return "begins with an empty line, not with a header";
    if (memchr(text, '\0', size))
        return "has a NUL in its header";
    if (is_status_line(&line))
        line = next_line(&at, end);
    for (; line.size; line = next_line(&at, end))
        if (name_size(&line) == 0)
            return "has a line in its header that is no header";
    return NULL;
}

/* The first field of this name; size 0: there is none. */
static struct line find_field(const char *text, size_t size, const char *name)
{
    const char *at = text, *end = text + size;
    struct line line = next_line(&at, end);
    while (line.size && !has_name(&line, name))
        line = next_line(&at, end);
    return line;
}

/* Not by strtoll(), which would skip the end of the line, and read a length from the next line or
 * from the body. */
long long cgi_header_length(const char *text, size_t size)
{
    static const char name[] = "Content-Length";
    enum { DIGITS_MOST = 18 }; /* no number of so many digits overflows */
    struct line line = find_field(text, size, name);
    if (line.size == 0)
        return -1;
    const char *at = line.text + sizeof name, *end = line.text + line.size;
    while (at < end && isblank((unsigned char)*at))
        at++;
    while (end > at && isblank((unsigned char)end[-1]))
        end--;
    if (at == end || end - at > DIGITS_MOST)
        return -1;
    long long length = 0;
    for (; at < end; at++) {
        if (!isdigit((unsigned char)*at))
            return -1;
        length = 10 * length + (*at - '0');
    }
    return length;
}

static char *put(char *to, const void *data, size_t size)
{
    memcpy(to, data, size);
    return to + size;
}

/* Without the CRs at its end: there may be several, as if a value was read from a text file of
 * another system. */
static char *put_line(char *to, const char *text, size_t size)
{
    while (size > 0 && text[size - 1] == '\r')
        size--;
    return put(put(to, text, size), "\n", 1);
}

/* The fields about the connection, which is the web server's. */
static bool is_of_connection(const struct line *line)
{
    return has_name(line, "Connection") || has_name(line, "Keep-Alive") ||
           has_name(line, "Transfer-Encoding");
}

/* Apache takes a header for the body if the last two lines end in CR LF and LF, or the other way
 * round. So all lines get the same end: LF, because the header may not grow.
 *
 * A Location without a Status means a redirection (RFC 3875, 6.2.3), but not every web server knows
 * that; its clients would see a blank page. With a local path (6.2.2), the web server could serve
 * what is there itself; the servers that do so also do it if there is a status. */
size_t cgi_header_copy(char *to, const char *text, size_t size)
{
    static const char found[] = "Status: 302 Found\n";
    const char *at = text, *end = text + size;
    char *out = to;
    struct line line = next_line(&at, end);
    bool nph = is_status_line(&line);
    if (nph) {
        out = put(out, "Status: ", 8);
        out = put_line(out, line.text + VERSION_SIZE, line.size - VERSION_SIZE);
        line = next_line(&at, end);
    } else if (find_field(text, size, "Location").size && !find_field(text, size, "Status").size) {
        out = put(out, found, sizeof found - 1);
    }
    for (; line.size; line = next_line(&at, end))
        if (!nph || !is_of_connection(&line))
            out = put_line(out, line.text, line.size);
    return (size_t)(put(out, "\n", 1) - to);
}

/* Whether the status means that there is no body (RFC 9110, 15.3.5, 15.3.6, 15.4.5). */
static bool has_no_body(const char *text, size_t size)
{
    static const char *const statuses[] = {"204", "205", "304", NULL};
    const char *at = text;
    struct line line = next_line(&at, text + size);
    size_t skip = VERSION_SIZE;
    if (!is_status_line(&line)) {
        line = find_field(text, size, "Status");
        for (skip = sizeof "Status"; skip < line.size && isblank((unsigned char)line.text[skip]);)
            skip++;
    }
    for (const char *const *status = statuses; *status; status++)
        if (line.size >= skip + 3 && memcmp(line.text + skip, *status, 3) == 0)
            return true;
    return false;
}

/* The longest header fills a record, once translated. The rest is for an answer that is held back.
 * Few requests need much of it; what is beyond HELD_KEPT is given back after each of those. */
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

/* An answer to HEAD has no body (RFC 3875, 4.3.3): HAProxy takes one for an error. The program may
 * write it all the same. */
static void drop_body(struct cgi_answer *answer)
{
    if (answer->bodyless)
        answer->size = answer->header;
}

static const char *collect(struct cgi_answer *answer, size_t size)
{
    size_t before = answer->size;
    answer->size += size;
    if (answer->header) {
        drop_body(answer);
        return NULL;
    }
    answer->header = cgi_header_size(held, answer->size, before);
    if (answer->header > HEADER_MAX || (!answer->header && answer->size > HEADER_MAX))
        return "has a header longer than 64 KiB";
    const char *fault = answer->header ? cgi_header_fault(held, answer->header) : NULL;
    answer->bodyless = answer->header && !fault &&
                       (answer->session->request.head_only || has_no_body(held, answer->header));
    drop_body(answer);
    return fault;
}

const char *cgi_answer_add(struct cgi_answer *answer, size_t size)
{
    if (!answer->begun)
        return collect(answer, size);
    if (answer->bodyless || size == 0)
        return NULL;
    cgi_session_put(answer->session, FCGI_STDOUT, size);
    answer->sent += (long long)size;
    return NULL;
}

/* Returns the size of the header as it is sent. */
static size_t begin(struct cgi_answer *answer, char *to)
{
    answer->begun = true;
    answer->put = answer->header;
    answer->nph = cgi_header_is_nph(held, answer->header);
    answer->promised = answer->bodyless ? 0 : cgi_header_length(held, answer->header);
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
    char *to = (char *)cgi_session_room(session);
    int size = snprintf(to, ROOM, "Status: %d %s\r\nContent-Type: text/plain\r\n%s\r\n", status,
                        reason, status == 503 ? "Retry-After: 5\r\n" : "");
    if (!session->request.head_only)
        size += snprintf(to + size, (size_t)(ROOM - size), "%d %s\n", status, reason);
    cgi_session_put(session, FCGI_STDOUT, (size_t)size);
}
