/* Any bytes as a web server's stream: read as a whole, and cut as the first byte says, it is the same
 * records; and what it holds of name-value pairs, of environments and of headers is read without a
 * step beyond its end. */
#include "fuzz.h"

#include "../../src/handlers/cgi_answer.h"
#include "../../src/handlers/cgi_env.h"
#include "../../src/wire/fcgi.h"

#include <stdlib.h>
#include <string.h>

/* The contents alone, whichever way the records came. */
static uint64_t contents(const uint8_t *bytes, size_t size, size_t cut, enum fcgi_found *end)
{
    struct fcgi_reader reader = {0};
    struct fcgi_piece piece;
    uint64_t value = 0xcbf29ce484222325;
    *end = FCGI_MORE;
    for (size_t at = 0; at < size && *end != FCGI_BROKEN; at += cut) {
        size_t n = size - at < cut ? size - at : cut;
        struct fcgi_bytes in = {bytes + at, bytes + at + n};
        while ((*end = fcgi_next(&reader, &in, &piece)) == FCGI_PIECE) {
            for (size_t i = 0; i < piece.size; i++)
                value = (value ^ piece.data[i] ^ piece.type ^ piece.id) * 0x100000001b3;
            value += piece.last;
        }
        if (*end == FCGI_MORE && in.at != in.end)
            abort();
    }
    return value;
}

static void read_pairs(const uint8_t *bytes, size_t size)
{
    static struct cgi_env env;
    static char *const pool[] = {NULL};
    unsigned char reply[FCGI_REPLY];
    struct fcgi_bytes asked = {bytes, bytes + size};
    if (fcgi_put_values(reply, asked, 4294967295u) > sizeof reply)
        abort();
    char *params = malloc(size + 1);
    memcpy(params, bytes, size);
    cgi_env_begin(&env, pool);
    if (cgi_env_take(&env, params, size) && !cgi_env_complete(&env))
        abort();
    for (int i = 0; env.list[i]; i++)
        if (!strchr(env.list[i], '=') || strncmp(env.list[i], "HTTP_PROXY=", 11) == 0)
            abort();
    free(params);
}

static void read_header(const uint8_t *bytes, size_t size)
{
    char *copy = malloc(size + 1);
    size_t length = cgi_header_size((const char *)bytes, size, 0);
    if (length > size)
        abort();
    if (length && !cgi_header_fault((const char *)bytes, length)) {
        cgi_header_length((const char *)bytes, length);
        if (cgi_header_copy(copy, (const char *)bytes, length) > length)
            abort();
    }
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    enum fcgi_found whole_end, cut_end;
    size_t cut = size ? bytes[0] % 32 + 1u : 1;
    if (size == 0)
        return 0;
    uint64_t whole = contents(bytes + 1, size - 1, size, &whole_end);
    uint64_t in_parts = contents(bytes + 1, size - 1, cut, &cut_end);
    if (whole != in_parts || whole_end != cut_end)
        abort();
    read_pairs(bytes + 1, size - 1);
    read_header(bytes + 1, size - 1);
    return 0;
}
