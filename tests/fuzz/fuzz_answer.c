/* Any bytes as a program's answer. The first byte chooses how it is split, and whether the request
 * is a HEAD. Whole or split, the same is sent: a sound header, and the unchanged body. */
#include "fuzz.h"

#include "../../src/handlers/cgi_answer.h"

#include <stdlib.h>
#include <string.h>

static void must(bool holds)
{
    if (!holds)
        abort();
}

/* What was sent. */
struct sent {
    unsigned char *data;
    size_t size, header;
    long long promised;
    const char *fault;
    bool begun, bodyless;
};

static void write_out(struct cgi_session *session, struct sent *sent, const unsigned char *content)
{
    size_t size = session->out_end - FCGI_HEADER;
    must(size <= CGI_OUTPUT);
    memcpy(sent->data + sent->size, content, size);
    sent->size += size;
    session->out_end = 0;
}

static void put_all(struct cgi_answer *answer, struct sent *sent)
{
    while (cgi_answer_pending(answer)) {
        const unsigned char *content = cgi_session_room(answer->session);
        cgi_answer_put(answer);
        write_out(answer->session, sent, content);
    }
}

/* A copy of the header only: reads beyond it are noticed. */
static void read_header(const char *text, size_t size)
{
    char *exact = malloc(size), *copy = malloc(size + CGI_HEADER_MORE);
    must(exact && copy);
    memcpy(exact, text, size);
    if (!cgi_header_fault(exact, size)) {
        must(cgi_header_length(exact, size) >= -1);
        size_t copied = cgi_header_copy(copy, exact, size);
        must(copied <= size + CGI_HEADER_MORE);
        must(cgi_header_size(copy, copied, 0) == copied);
        must(cgi_header_is_nph(exact, size) || !cgi_header_fault(copy, copied));
    }
    free(exact);
    free(copy);
}

static struct sent answer_with(const uint8_t *bytes, size_t size, size_t piece, bool head_only)
{
    struct cgi_session session = {.request = {.id = 1, .head_only = head_only}};
    struct cgi_answer answer = {.session = &session, .promised = -1};
    struct sent sent = {.data = malloc(size + CGI_HEADER_MORE)};
    must(sent.data != NULL);
    for (size_t at = 0, n; at < size && !sent.fault; at += n) {
        size_t room;
        unsigned char *to = cgi_answer_room(&answer, &room);
        must(to && room > 0);
        n = size - at < piece ? size - at : piece;
        n = n < room ? n : room;
        memcpy(to, bytes + at, n);
        sent.fault = cgi_answer_add(&answer, n);
        if (!sent.fault && session.out_end)
            write_out(&session, &sent, to);
        else if (!sent.fault)
            put_all(&answer, &sent);
    }
    must(!sent.fault || sent.size == 0);
    must(answer.sent >= 0 && (size_t)answer.sent <= size);
    sent.begun = answer.begun;
    sent.bodyless = answer.bodyless;
    sent.header = answer.header;
    sent.promised = answer.promised;
    cgi_answer_done(&answer);
    return sent;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (size == 0)
        return 0;
    bool head_only = bytes[0] % 2;
    size_t piece = bytes[0] / 2 + 1u;
    bytes++, size--;
    struct sent whole = answer_with(bytes, size, size + 1, head_only);
    struct sent parts = answer_with(bytes, size, piece, head_only);
    must(whole.begun == parts.begun && whole.fault == parts.fault);
    must(whole.size == parts.size && memcmp(whole.data, parts.data, whole.size) == 0);
    if (whole.header)
        read_header((const char *)bytes, whole.header);
    if (whole.begun) {
        must(whole.bodyless == parts.bodyless && (whole.bodyless || !head_only));
        size_t body = whole.bodyless ? 0 : size - whole.header;
        must(whole.promised == parts.promised && whole.size >= body);
        must(memcmp(whole.data + whole.size - body, bytes + size - body, body) == 0);
    }
    free(whole.data);
    free(parts.data);
    return 0;
}
