/* Any bytes as a web server's stream: whole, and split as the first byte says, it has the same
 * records; as a question for values it is answered within the given room. */
#include "fuzz.h"

#include "../../src/wire/fcgi.h"

#include <stdlib.h>

/* The contents only, however the records were split. */
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

static void read_values(const uint8_t *bytes, size_t size)
{
    unsigned char reply[FCGI_REPLY];
    struct fcgi_bytes asked = {bytes, bytes + size};
    if (fcgi_put_values(reply, asked, 4294967295u) > sizeof reply)
        abort();
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
    read_values(bytes + 1, size - 1);
    return 0;
}
